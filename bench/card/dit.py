"""One forward pass of a transformer: diffusers' own, ours, ours compiled, and ours with one part turned over."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from diffusers import WanTransformer3DModel

from bench.card import models
from bench.card.clock import Clock
from bench.card.profile import profiled
from bench.card.shapes import Dit
from bench.table import Row
from plugins.diffusers_backend.device import attention_for
from plugins.diffusers_backend.fast.block import run_blocks
from plugins.diffusers_backend.fast.choices import Chooser
from plugins.diffusers_backend.fast.compile import Compiler
from plugins.diffusers_backend.fast.measured import Table
from plugins.diffusers_backend.fast.moment import moment_of
from plugins.diffusers_backend.fast.network import Network
from plugins.diffusers_backend.fast.switches import Switches

Run = Callable[[], torch.Tensor]
# what one pass over one prompt tells apart
PARTS = ("packed_qkv", "rope_kernel", "norm_kernel", "measured_attention", "gelu_epilogue")
EVERY = Switches(measured_attention=True, gelu_epilogue=True)
MOST_STOCK = 1 / 1.9  # of diffusers' time
WORST_ERROR = 1.1  # beside diffusers' own
FEW = 2  # blocks, where the reference is in fp32


def forward(name: str, dit: Dit, clock: Clock) -> Iterator[Row]:
    """Yield times, shares, memory and kernels of the whole model."""
    model = models.transformer(dit.config, clock.device)
    compiler = Compiler(run_blocks)
    chooser = Chooser(table=Table(clock.seconds))
    runs = {"diffusers": _stock(model, dit), "ours": _ours(model, dit, chooser)}
    runs["ours as it comes"] = _ours(model, dit, chooser, Switches())
    for part in PARTS:
        runs[f"ours without {part}"] = _ours(model, dit, chooser, replace(EVERY, **{part: False}))
    compiled = _ours(model, dit, chooser, compiler=compiler)
    if compiler.ready:
        runs["ours, compiled"] = compiled
    turns = clock.turns(runs)
    yield Row(f"{name}: FLOP of a forward pass", dit.flop / 1e12, "TFLOP")
    yield Row(f"{name}: a bf16 product's rate meanwhile", turns.rate / 1e12, "TFLOP/s")
    for run, seconds in turns.seconds.items():
        yield Row(f"{name}: {run}", 1000 * seconds, "ms")
        wanted = f" (wanted: {dit.wanted:g} or more)" if run.startswith("ours") and dit.wanted else ""
        yield Row(f"{name}: {run}, of that rate{wanted}", 100 * dit.flop / seconds / turns.rate, "%")
    for run in runs.keys() & {"ours", "ours, compiled"}:
        share = turns.seconds[run] / turns.seconds["diffusers"]
        yield Row(f"{name}: {run}, share of diffusers' time", share, "", round(MOST_STOCK, 3))
    for run in ("diffusers", *sorted(runs.keys() & {"ours", "ours, compiled"})):
        yield Row(f"{name}: {run}, memory beside the weights at its peak", clock.peak(runs[run]) / 1e9, "GB")
        yield from _kernels(f"{name}: {run}", runs[run], clock)


def error(name: str, dit: Dit, clock: Clock) -> Iterator[Row]:
    """Yield how far a few blocks are from the same in fp32, and ours from diffusers'."""
    device, chooser = clock.device, Chooser(table=Table(clock.seconds))
    few = replace(dit, config={**dit.config, "num_layers": FEW})
    model = models.transformer(few.config, device)
    stock, ours = _stock(model, few)(), _ours(model, few, chooser)()
    exact = _stock(copy.deepcopy(model).float(), few, torch.float32)()
    worse = _off(ours, exact) / _off(stock, exact)
    yield Row(f"{name}: error of {FEW} blocks against fp32, ours / diffusers'", worse, "", WORST_ERROR)
    yield Row(f"{name}: difference of ours from diffusers', {FEW} blocks", _off(ours, stock.double()))


def together(name: str, dit: Dit, latents: tuple[int, int, int], clock: Clock) -> Iterator[Row]:
    """Yield what guidance in one pass is worth for a small clip, and timesteps by the frame for an image's."""
    small = replace(dit, latents=latents)
    model = models.transformer(small.config, clock.device)
    frames = latents[0]
    chooser = Chooser(table=Table(clock.seconds))
    one, both = _ours(model, small, chooser), _ours(model, small, chooser, prompts=2)
    runs: dict[str, Callable[[], object]] = {
        "both halves of guidance in turn": lambda: (one(), one()),
        "both halves of guidance in one pass": both,
        "a timestep a token": _ours(model, small, chooser, groups=small.tokens),
        "a timestep a latent frame": _ours(model, small, chooser, groups=frames),
    }
    for run, seconds in clock.turns(runs).seconds.items():
        yield Row(f"{name}, {small.tokens} tokens: {run}", 1000 * seconds, "ms")


def _stock(model: WanTransformer3DModel, dit: Dit, dtype: torch.dtype = torch.bfloat16) -> Run:
    """Return diffusers' forward pass as it comes: attention is PyTorch's choice."""
    device = str(model.device)
    latents = models.noise(device, dtype, 1, dit.config["in_channels"], *dit.latents)
    embeds = models.prompts(1, dit.config["text_dim"], device).to(dtype)
    when = models.times(device)

    def run() -> torch.Tensor:
        model.set_attention_backend("native")
        return model(latents, when, embeds, return_dict=False)[0]

    return run


def _ours(
    model: WanTransformer3DModel,
    dit: Dit,
    chooser: Chooser,
    switches: Switches = EVERY,
    compiler: Compiler | None = None,
    prompts: int = 1,
    groups: int = 1,
) -> Run:
    """Return our forward pass; with a `compiler` once that is done, or eager if it fails."""
    device = str(model.device)
    latents = models.noise(device, torch.bfloat16, 1, dit.config["in_channels"], *dit.latents)
    embeds = models.prompts(prompts, dit.config["text_dim"], device)
    when = models.times(device, groups)
    model.set_attention_backend(attention_for("auto", device, torch.bfloat16))
    network = Network(model, switches, compiler, chooser)
    prepared = network.prepare(latents, embeds, groups)
    if compiler is not None:
        network.compile_later(prepared, latents, moment_of(model, when))
        compiler.wait()
        prepared = network.prepare(latents, embeds, groups)
    return lambda: prepared(latents, moment_of(model, when))


def _kernels(name: str, run: Run, clock: Clock) -> Iterator[Row]:
    found = profiled(run, clock.device)
    for kind, seconds in sorted(found.seconds.items()):
        yield Row(f"{name}: {kind}, mostly by {found.kernels[kind]}", 1000 * seconds, "ms")


def _off(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the distance, relative in the 2-norm."""
    return float((got.double() - exact.double()).norm() / exact.double().norm())
