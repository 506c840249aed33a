"""Adapters: what side products add to a forward pass, and what four steps save."""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from bench.figures.fast import loader
from bench.figures.nano import TEXT
from bench.tools.server import message, serve
from bench.tools.table import Figure, Row
from plugins.diffusers_backend.dit.adapted import AdaptedLayer
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights.adapters.weights import Product
from router import UsedAdapter

ROUNDS = 9
RANKS = (8, 32, 64, 128)
MOST_ON_CPU, MOST_ON_GPU = 0.06, 0.03  # of a forward pass at rank 64
MOST_DENOISING, MOST_JOB = 0.33, 0.5  # of twelve guided steps
SMALL = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 2}  # Wan2.1-T2V-1.3B, but for the number of blocks
LARGE = {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 1}  # a transformer of Wan2.2-T2V-A14B
MODEL, ADAPTER = "wan-nano-t2v", "fast4"
FAST: dict[str, Any] = {"steps": 4, "guidance_scale": 1.0, "guidance_scale_2": 1.0}


def measure() -> Figure:
    rows = [*side_products("cpu", torch.float32, SMALL, (3, 30, 52), MOST_ON_CPU)]
    if torch.cuda.is_available():
        rows += side_products("cuda", torch.bfloat16, LARGE, (21, 60, 104), MOST_ON_GPU)
    return Figure(
        "adapters",
        "adapters: side products in a forward pass, and four steps instead of twelve",
        (*rows, *_denoising(), *_jobs()),
        (
            f"medians of {ROUNDS} rounds in which all run once, on {torch.get_num_threads()} threads; on a CPU, CPU time",
            "side products: on every linear layer of each block; 1.3B's shape at 1,170 tokens in fp32, with 2 blocks;"
            " with a GPU, A14B's at 32,760 tokens in bf16, with 1 block",
            f"{ADAPTER}: 4 steps without guidance by {MODEL}, beside 12 steps with guidance 3",
        ),
    )


@torch.no_grad()
def side_products(
    device: str, dtype: torch.dtype, shape: Mapping[str, int], latent: tuple[int, int, int], most: float
) -> list[Row]:
    """Return what adapters of each rank add to a forward pass of random weights.

    `latent` is `(t, h, w)`.
    """
    model = WanTransformer3DModel(**shape).eval().to(device, dtype)
    latents = torch.randn(1, 16, *latent, device=device, dtype=dtype)
    embeds = torch.randn(1, 512, 4096, device=device, dtype=dtype)
    runs = {0: _run(model, latents, embeds)}
    runs |= {rank: _run(_adapted(model, rank), latents, embeds) for rank in RANKS}
    taken = _in_turns(runs, device)
    name = f"{shape['num_attention_heads'] * 128} wide on {device}"
    rows = [Row(f"one forward pass, {name}", 1000 * statistics.median(taken[0]), "ms")]
    for rank in RANKS:
        ratios = [one / other for one, other in zip(taken[rank], taken[0], strict=True)]
        target = most if rank == 64 else None
        rows.append(Row(f"rank {rank} adds, share of the pass, {name}", statistics.median(ratios) - 1, "", target))
    return rows


def _adapted(model: WanTransformer3DModel, rank: int) -> WanTransformer3DModel:
    """Return `model` with random products at the linear layers of all blocks."""
    twin: Any = copy.deepcopy(model, {id(each): each for each in model.parameters()})
    for block in twin.blocks:
        for name, layer in list(block.named_modules()):
            if isinstance(layer, torch.nn.Linear):
                parent, _, last = name.rpartition(".")
                high, wide = layer.weight.shape
                down, up = layer.weight.new_empty(rank, wide), layer.weight.new_empty(high, rank)
                product = Product(down.normal_(std=0.01), up.normal_(std=0.01))
                parameters = {"weight": layer.weight, "bias": layer.bias}
                setattr(block.get_submodule(parent), last, AdaptedLayer(layer, parameters, [product]))
    return twin


def _run(model: WanTransformer3DModel, latents: torch.Tensor, embeds: torch.Tensor) -> Callable[[], object]:
    network = Network(model, Switches(), None)
    run = network.prepare(latents, embeds, 1)
    embedding = embed_timesteps(model, torch.tensor([500.0], device=latents.device))
    return lambda: run(latents, embedding)


def _in_turns(runs: Mapping[int, Callable[[], object]], device: str) -> dict[int, list[float]]:
    """Return the seconds of each run, all measured alternately after two rounds."""
    taken: dict[int, list[float]] = {name: [] for name in runs}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for number in range(ROUNDS + 2):
        for name, run in runs.items():
            start = clock()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if number >= 2:
                taken[name].append(clock() - start)
    return taken


def _denoising() -> list[Row]:
    """Return the times of the steps alone: prompts are cached, nothing is decoded."""
    with tempfile.TemporaryDirectory() as folder:
        entry = f"backend: diffusers, source: 'embedded:{MODEL}', adapters: [{ADAPTER}]"
        subject = loader(Path(folder), {MODEL: entry})(MODEL)
        guided = replace(subject.task, **vars(subject.model.defaults) | {"flow_shift": 2.0}, prompt=TEXT)
        fast = replace(guided, **FAST, flow_shift=5.0, adapters=(UsedAdapter(ADAPTER),))
        runs = {0: lambda: subject.generate(guided), 1: lambda: subject.generate(fast)}
        taken = _in_turns(runs, "cpu")
    steps, few = (statistics.median(taken[number]) for number in (0, 1))
    return [
        Row("denoising: 12 guided steps", 1000 * steps, "ms"),
        Row(f"denoising: {ADAPTER}, share of these", few / steps, "", MOST_DENOISING),
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
