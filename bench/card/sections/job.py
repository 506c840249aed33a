"""Whole jobs of Wan 2.2 over HTTP at true size: phases, preview, overhead, memory."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.card import checkpoints
from bench.card.session import Check, Finding, Session
from bench.card.videos import Clip, Studio, open_studio
from bench.plugins.probe import NOISE
from bench.tools.server import Client
from bench.tools.table import Row

BUDGET = {"memory_budget": "98%", "activation_reserve": "8GB"}  # of docs/speed-and-memory.md, on an H200
PLANNED = 138.0  # GB of weights, by that page
RESERVE = 8.0  # GB
SHARED_MEMORY = Path("/dev/shm")  # reads files of holes at the rate of memory
PROMPT = "a cat surfs on a wave at sunset, the camera follows it"
# half the steps each, one pass a step
BOTH_EXPERTS = {"flow_shift": 1.0, "guidance_scale": 1.0, "guidance_scale_2": 1.0}
PHASES = {
    "load": "loading, from files in memory",
    "step": "all steps, with the text encoder",
    "decode": "decoding and encoding",
}
ADDED_SECONDS = 1.0  # the most overhead of the router
MORE = 1.02  # the largest ratio of allocated bytes to the plan, which leaves out buffers


@dataclass(frozen=True)
class Sizes:
    """Options for TI2V-5B and for the pairs, and the steps before a preview."""

    whole: dict[str, int]
    small: dict[str, int]
    steps: int


TRUE = Sizes(
    {"width": 1280, "height": 704, "num_frames": 121, "steps": 4}, {"width": 832, "height": 480, "num_frames": 81}, 2
)
TOY = Sizes({"width": 64, "height": 64, "num_frames": 17, "steps": 4}, {"width": 64, "height": 64, "num_frames": 9}, 60)


@contextmanager
def _served(session: Session) -> Iterator[Studio]:
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else session.folder
    folder = Path(tempfile.mkdtemp(prefix="framegate-card-", dir=parent))
    os.environ[NOISE] = "1"
    try:
        lines = ["models:"]
        for name, recipe in checkpoints.wan_2_2(session.is_toy).items():
            source = checkpoints.write(folder, name, recipe)
            lines.append(f"  {name}: {{source: {source}, backend: diffusers, family: {recipe.family}}}")
        settings = {} if session.is_toy else BUDGET
        with open_studio(session.folder / "raw", "\n".join(lines) + "\n", session.device, **settings) as studio:
            yield studio
    finally:
        del os.environ[NOISE]
        shutil.rmtree(folder, ignore_errors=True)


def _opened(session: Session) -> tuple[Studio, Sizes]:
    return session.once("models", lambda: _served(session)), TOY if session.is_toy else TRUE


def whole_job(session: Session) -> Iterator[Finding]:
    studio, sizes = _opened(session)
    begun = time.perf_counter()
    made = studio.make("ti2v", PROMPT, **sizes.whole)
    seconds = time.perf_counter() - begun
    phases = {phase: studio.metrics("framegate_phase_seconds_sum", phase=phase).get("ti2v", 0.0) for phase in PHASES}
    for phase, taken in phases.items():
        yield Row(PHASES[phase], taken, "s")
    total, count = (studio.metrics(f"framegate_step_seconds_{each}")["ti2v"] for each in ("sum", "count"))
    yield Row(f"a step, of {sizes.whole['steps']}", total / count, "s")
    created, finished = studio.row(made.job, "created_at, finished_at")
    yield Row("the whole job, as its caller sees it", seconds, "s")
    added = finished - created - sum(phases.values())
    yield Row("of it neither load nor steps nor decoding: what the router adds", added, "s", ADDED_SECONDS)
    wanted = (sizes.whole["num_frames"], sizes.whole["height"], sizes.whole["width"], 3)
    yield Row("videos of another size than asked", made.frames.shape != wanted, "", 1)
    yield Row("levels in its last frame (random weights make many)", len(np.unique(made.frames[-1])), "", least=8)
    if (held := studio.measured(made.job)) is not None:
        planned = studio.planned()
        yield Row("weights planned", planned / 1e9, "GB")
        yield Row("most that was allocated", held["most"] / 1e9, "GB")
        yield Row("of it beside the weights", (held["most"] - held["allocated"]) / 1e9, "GB")
        yield Row("allocated after the job / planned", held["allocated"] / planned, "", MORE)


def pairs(session: Session) -> Iterator[Finding]:
    studio, sizes = _opened(session)
    for name, image in (("t2v", None), ("i2v", _picture(sizes))):
        begun = time.perf_counter()
        made = studio.make(name, PROMPT, image, **sizes.small, steps=2, **BOTH_EXPERTS)
        loading = studio.metrics("framegate_phase_seconds_sum", phase="load")[name]
        yield Row(f"{name}: its first job of two steps, with its load", time.perf_counter() - begun, "s")
        yield Row(f"{name}: loading both experts, from files in memory", loading, "s")
        if (held := studio.measured(made.job)) is not None:
            yield Row(f"{name}: most that was allocated", held["most"] / 1e9, "GB")
    evicted = studio.total("framegate_evictions_total")
    yield Row("models that had to leave for another", evicted, "", 1)


def all_resident(session: Session) -> Iterator[Finding]:
    """Run a step of each model with all of Wan 2.2 resident; measure memory."""
    studio, sizes = _opened(session)
    before = studio.total("framegate_loads_total")
    size = "x".join(str(number) for number in sizes.small.values())
    for name, image in (("ti2v", None), ("t2v", None), ("i2v", _picture(sizes))):
        begun = time.perf_counter()
        made = studio.make(name, PROMPT, image, **sizes.small, steps=1, **BOTH_EXPERTS)
        yield Row(f"{name}: one step of {size}, to the file", time.perf_counter() - begun, "s")
    loads = studio.total("framegate_loads_total") - before
    yield Row("loads meanwhile (0: all three are resident)", loads, "", None if before < 3 else 1)
    planned = studio.planned()
    bounds = {} if session.is_toy else {"target": 1.001 * PLANNED, "least": 0.999 * PLANNED}
    yield Row("weights of all three, planned", planned / 1e9, "GB", **bounds)
    if (held := studio.measured(made.job)) is not None:
        yield Row("allocated with all three resident", held["allocated"] / 1e9, "GB")
        yield Row("allocated / planned", held["allocated"] / planned, "", MORE)
        yield Row("most beside the weights in that step", (held["most"] - held["allocated"]) / 1e9, "GB", RESERVE)
        yield Row("free on the card", torch.cuda.mem_get_info(session.device)[0] / 1e9, "GB")


def preview(session: Session) -> Iterator[Finding]:
    studio, sizes = _opened(session)
    response = studio.begin("t2v", PROMPT, **sizes.small, steps=sizes.steps)
    studio.until(response, steps=1)
    found, path = b"", f"/v1/videos/{response.replace('resp_', 'video_')}/content?variant=preview"
    with Client(studio.server.port) as client:
        while not found and studio.ask(f"/v1/responses/{response}")["status"] == "in_progress":
            status, picture = client.get(path)
            found = picture if status == 200 else b""
    yield Row("running jobs without a preview", not found.startswith(b"\xff\xd8"), "", 1)  # the magic bytes of a JPEG


def _picture(sizes: Sizes) -> Clip:
    return np.full((sizes.small["height"], sizes.small["width"], 3), (60, 120, 200), np.uint8)


CHECKS: dict[str, Check] = {
    "a whole job of TI2V-5B": whole_job,
    "the A14B pairs": pairs,
    "all of Wan 2.2 resident": all_resident,
    "a preview": preview,
}
