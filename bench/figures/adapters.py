"""Adapters: the cost of side products, and the gain of four steps."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from bench.figures.fast import loader
from bench.figures.nano import TEXT
from bench.tools.adapted import with_random_products
from bench.tools.server import message, serve
from bench.tools.table import Figure, Row
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.wan.tuning.switches import Switches
from router import UsedAdapter

ROUNDS = 9
RANKS = (8, 32, 64, 128)
MOST_ADDED = 0.06  # of a forward pass at rank 64
MOST_DENOISING, MOST_JOB = 0.33, 0.5  # of twelve guided steps
SHAPE = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 2}  # Wan2.1-T2V-1.3B, but for the number of blocks
LATENT = (3, 30, 52)  # frames, height, width
MODEL, ADAPTER = "wan-nano-t2v", "fast4"
FAST: dict[str, Any] = {"steps": 4, "guidance_scale": 1.0, "guidance_scale_2": 1.0}


def measure() -> Figure:
    rows = side_products()
    return Figure(
        "adapters",
        "adapters: side products in a forward pass, and four steps instead of twelve",
        (*rows, *_denoising(), *_jobs()),
        (
            f"medians of {ROUNDS} rounds in which all run once, on {torch.get_num_threads()} threads; CPU time",
            "side products: on every linear layer of each block; 1.3B's shape at 1,170 tokens in fp32, with 2 blocks",
            f"{ADAPTER}: 4 steps without guidance by {MODEL}, beside 12 steps with guidance 3",
        ),
    )


@torch.no_grad()
def side_products() -> list[Row]:
    """Return what adapters of each rank add to a forward pass of random weights."""
    model = WanTransformer3DModel(**SHAPE).eval()
    latents, embeds = torch.randn(1, 16, *LATENT), torch.randn(1, 512, 4096)
    runs = {0: _run(model, latents, embeds)}
    runs |= {rank: _run(with_random_products(model, rank), latents, embeds) for rank in RANKS}
    taken = _in_turns(runs)
    rows = [Row("one forward pass at 1.3B's shape", 1000 * statistics.median(taken[0]), "ms")]
    for rank in RANKS:
        ratios = [one / other for one, other in zip(taken[rank], taken[0], strict=True)]
        target = MOST_ADDED if rank == 64 else None
        rows.append(Row(f"rank {rank} adds, share of the pass", statistics.median(ratios) - 1, "", target))
    return rows


def _run(model: WanTransformer3DModel, latents: torch.Tensor, embeds: torch.Tensor) -> Callable[[], object]:
    network = Network(model, Switches(), None)
    run = network.prepare(latents, embeds, 1)
    embedding = embed_timesteps(model, torch.tensor([500.0]))
    return lambda: run(latents, embedding)


def _in_turns(runs: Mapping[int, Callable[[], object]]) -> dict[int, list[float]]:
    """Return the seconds of each run, all measured alternately after two rounds."""
    taken: dict[int, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 2):
        for name, run in runs.items():
            start = time.process_time()  # other load on the machine does not count
            run()
            if number >= 2:
                taken[name].append(time.process_time() - start)
    return taken


def _denoising() -> list[Row]:
    """Return the times of the steps alone: prompts are cached, nothing is decoded."""
    with tempfile.TemporaryDirectory() as folder:
        entry = f"backend: diffusers, source: 'embedded:{MODEL}', adapters: [{ADAPTER}]"
        subject = loader(Path(folder), {MODEL: entry})(MODEL)
        guided = replace(subject.task, **vars(subject.model.defaults) | {"flow_shift": 2.0}, prompt=TEXT)
        fast = replace(guided, **FAST, flow_shift=3.0, adapters=(UsedAdapter(ADAPTER),))
        plain = replace(fast, adapters=())
        runs = {number: partial(subject.generate, task) for number, task in enumerate((guided, plain, fast))}
        taken = _in_turns(runs)
    steps, few, adapted = (statistics.median(taken[number]) for number in runs)
    return [
        Row("denoising: 12 guided steps", 1000 * steps, "ms"),
        Row("denoising: 4 steps without guidance and adapter, share of these", few / steps),
        Row(f"denoising: {ADAPTER}, share of these", adapted / steps, "", MOST_DENOISING),
    ]


def _jobs() -> list[Row]:
    """Return the times of whole jobs over HTTP."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    with serve() as server, server.connect() as client:
        for number in range(ROUNDS + 1):
            for fast, seconds in taken.items():
                options = {"video": {"adapters": [ADAPTER]}} if fast else {}
                start = time.perf_counter()
                client.make(MODEL, message(f"{TEXT} {number}"), provider_options=options)
                if number:
                    seconds.append(time.perf_counter() - start)
    plain, fast4 = statistics.median(taken[False]), statistics.median(taken[True])
    return [
        Row("a whole job over HTTP: 12 guided steps", 1000 * plain, "ms"),
        Row(f"a whole job over HTTP: {ADAPTER}, share of that", fast4 / plain, "", MOST_JOB),
    ]
