"""The gain of encoding the next job's prompts during a video's last stages."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.tools.server import scratch_folder
from bench.tools.table import Figure, Row
from registry import Input
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.values import Job, Status, Task

ROUNDS, JOBS = 9, 8
MODEL = "wan-nano-t2v"
WORDS = {True: "prepared ahead", False: "one after the other"}


def measure() -> Figure:
    return Figure(
        "ahead",
        f"{JOBS} queued videos of {MODEL}, 64x64, 17 frames, 12 steps, each with a prompt of its own",
        compared("cpu", ROUNDS),
        (
            f"medians of {ROUNDS} rounds in turns; on a CPU decoding, writing and encoding prompts share the cores, "
            "and a text encoder of toy size is a small part of a video",
        ),
    )


def compared(device: str, rounds: int, jobs: int = JOBS) -> tuple[Row, ...]:
    """Return milliseconds per video with and without preparation, and their ratio."""
    with scratch_folder() as one, scratch_folder() as other:
        systems = {True: _system(one, True), False: _system(other, False)}
        workers = {ahead: Worker(system, device) for ahead, system in systems.items()}
        taken: dict[bool, list[float]] = {ahead: [] for ahead in workers}
        for number in range(rounds + 1):
            for ahead, worker in workers.items():
                taken[ahead].append(_seconds(systems[ahead], worker, number, jobs))
    middle = {ahead: statistics.median(seconds[1:]) for ahead, seconds in taken.items()}
    return (
        *(Row(WORDS[ahead], 1000 * seconds / jobs, "ms a video") for ahead, seconds in middle.items()),
        Row("prepared ahead / one after the other", middle[True] / middle[False]),
    )


def _system(data: Path, ahead: bool) -> System:
    file = data / "models.yaml"
    file.write_text(f"models: {{{MODEL}: {{backend: diffusers, source: 'embedded:{MODEL}'}}}}\n")
    return assemble(Settings(data=data, models=file, prepare_ahead=ahead), plugins=[encoder])


def _seconds(system: System, worker: Worker, round_number: int, jobs: int) -> float:
    text = frozenset({Input.TEXT})
    names = [f"{round_number * jobs + number:032x}" for number in range(jobs)]
    for number, name in enumerate(names):
        prompt = f"a red ball rolls to the right, {round_number} {number}"
        task = Task(prompt, "blurred", 64, 64, 17, 8, 12, 3.0, None, 3.0, number, text)
        system.jobs.add(Job(name, "me", MODEL, task, created_at=time.time()))
    started = time.perf_counter()
    while worker.run_one():
        pass
    taken = time.perf_counter() - started
    found = [system.jobs.get(name, "me") for name in names]
    assert all(job is not None and job.status is Status.COMPLETED for job in found)
    return taken
