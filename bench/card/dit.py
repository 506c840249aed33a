"""A transformer's forward pass: diffusers', ours, compiled, and with single switches changed."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from diffusers import WanTransformer3DModel

from bench.card import models
from bench.card.accuracy import relative_error
from bench.card.clock import Clock
from bench.card.profile import profiled
from bench.card.shapes import Dit
from bench.tools.adapted import with_random_products
from bench.tools.quantised import quantise_blocks
from bench.tools.table import Row
from plugins.diffusers_backend.attention_backend import attention_for
from plugins.diffusers_backend.compile import Compiler
from plugins.diffusers_backend.dit.block import run_blocks
from plugins.diffusers_backend.dit.fused_ops import KernelConfig
from plugins.diffusers_backend.dit.network import Network, Pass
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.diffusers_backend.tuning.chooser import Chooser
from plugins.wan.tuning.autotune import Autotuner
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights.device_format import FP8, FP8_PRODUCTS, INT8

Run = Callable[[], torch.Tensor]
STOCK, OURS, COMPILED, ADAPTED = "diffusers", "ours", "ours, compiled", "ours with adapters"
RANK = 64  # of adapters
# each switch alone is changed from its default
PARTS = ("rope_kernel", "norm_kernel", "packed_qkv", "measured_attention", "gelu_epilogue")
WORST_ERROR = 1.1  # beside diffusers' own
FEW = 2  # blocks of the comparison with fp32
LONGEST = 10  # kernels of a profile


@dataclass(frozen=True)
class Forward:
    """A forward pass over one prompt, and its warm-up over the first block alone."""

    run: Run
    warm: Run


def forward(name: str, dit: Dit, clock: Clock, model: WanTransformer3DModel) -> Iterator[Row | str]:
    """Yield times, shares of the product rate and memory of diffusers and ours."""
    chooser = Chooser(tuner=Autotuner(clock.seconds))
    both = {STOCK: _stock(model, dit), OURS: _ours(model, dit, chooser)}
    shape = chooser.config_for(model, 1, dit.tokens, Switches())
    yield f"{name}: ours runs attention by {shape.attention}, {_kernels(shape)}"
    yield from _rows(name, dit, clock, both)


def compiled(name: str, dit: Dit, clock: Clock, model: WanTransformer3DModel) -> Iterator[Row]:
    """Yield the gain of compiled blocks, and the seconds of compiling them."""
    chooser, compiler = Chooser(tuner=Autotuner(clock.seconds)), Compiler(run_blocks)
    begun = time.perf_counter()
    quick = _ours(model, dit, chooser, compiler=compiler)
    yield Row(f"{name}: seconds until the blocks are compiled", time.perf_counter() - begun, "s")
    if not compiler.ready:
        raise RuntimeError(f"the blocks of {name} could not be compiled; the log above has the reason")
    yield from _rows(name, dit, clock, {OURS: _ours(model, dit, chooser), COMPILED: quick}, False)


def _kernels(shape: KernelConfig) -> str:
    named = {"rope_kernel": shape.rope_kernel, "norm_kernel": shape.norm_kernel}
    return ", ".join(f"{'with' if on else 'WITHOUT'} {name}" for name, on in named.items())


def parts(name: str, dit: Dit, clock: Clock, model: WanTransformer3DModel) -> Iterator[Row]:
    """Yield the ratio of times with each switch changed from its default."""
    chooser, usual = Chooser(tuner=Autotuner(clock.seconds)), Switches()
    runs = {OURS: _ours(model, dit, chooser, usual), "again": _ours(model, dit, chooser, usual)}
    for part in PARTS:
        runs[part] = _ours(model, dit, chooser, replace(usual, **{part: not getattr(usual, part)}))
    rounds = clock.compared(_warmed(runs))
    yield Row(f"{name}: ours, as it comes", 1000 * rounds.seconds[OURS], "ms")
    yield Row(f"{name}: the same, measured again", rounds.seconds["again"] / rounds.seconds[OURS], "times")
    for part in PARTS:
        word = "without" if getattr(usual, part) else "with"
        yield Row(f"{name}: {word} {part}", rounds.seconds[part] / rounds.seconds[OURS], "times")


def adapted(name: str, dit: Dit, clock: Clock, model: WanTransformer3DModel, most: float | None) -> Iterator[Row]:
    """Yield what adapters add to a forward pass, below the share `most`."""
    chooser = Chooser(tuner=Autotuner(clock.seconds))
    runs = {OURS: _ours(model, dit, chooser), ADAPTED: _ours(with_random_products(model, RANK), dit, chooser)}
    seconds = clock.compared(_warmed(runs)).seconds
    yield Row(f"{name}: adapters of rank {RANK} add, share of the pass", seconds[ADAPTED] / seconds[OURS] - 1, "", most)


def quantised(name: str, dit: Dit, clock: Clock, model: WanTransformer3DModel) -> Iterator[Row]:
    """Yield the shares of a pass's time with weights in codes."""
    chooser = Chooser(tuner=Autotuner(clock.seconds))
    runs = {OURS: _ours(model, dit, chooser)}
    for form in (FP8, INT8, FP8_PRODUCTS):
        changed = copy.deepcopy(model)
        quantise_blocks(changed, form)
        runs[form] = _ours(changed, dit, chooser)
    seconds, plain = clock.compared(_warmed(runs)).seconds, runs[OURS].run()
    for form in (FP8, INT8, FP8_PRODUCTS):
        yield Row(f"{name}: {form}, share of the time of bf16", seconds[form] / seconds[OURS])
        yield Row(f"{name}: {form}, difference of a pass", 100 * relative_error(runs[form].run(), plain), "%")


def error(name: str, dit: Dit, clock: Clock) -> Iterator[Row]:
    """Yield the errors of a few blocks against fp32, and of ours against diffusers'."""
    device, chooser = clock.device, Chooser(tuner=Autotuner(clock.seconds))
    few = replace(dit, config={**dit.config, "num_layers": FEW})
    model = models.transformer(few.config, device)
    stock, ours = _stock(model, few).run(), _ours(model, few, chooser).run()
    with torch.backends.cudnn.flags(allow_tf32=False):  # the patches are embedded by a convolution
        exact = _stock(copy.deepcopy(model).float(), few, torch.float32).run()
    worse = relative_error(ours, exact) / relative_error(stock, exact)
    yield Row(f"{name}: error of {FEW} blocks against fp32, ours / diffusers'", worse, "", WORST_ERROR)
    yield Row(f"{name}: difference of ours from diffusers', {FEW} blocks", 1e6 * relative_error(ours, stock), "ppm")


def guidance(name: str, dit: Dit, latents: tuple[int, int, int], clock: Clock) -> Iterator[Row]:
    """Yield the gain of guidance in one pass, and of timesteps per frame."""
    small = replace(dit, latents=latents)
    model = models.transformer(small.config, clock.device)
    chooser = Chooser(tuner=Autotuner(clock.seconds))
    one, both = _ours(model, small, chooser), _ours(model, small, chooser, prompts=2)
    runs = {
        "both halves of guidance in turn": Forward(lambda: (one.run(), one.run())[1], one.warm),
        "both halves of guidance in one pass": both,
        "a timestep a token": _ours(model, small, chooser, groups=small.tokens),
        "a timestep a latent frame": _ours(model, small, chooser, groups=latents[0]),
    }
    for run, seconds in clock.compared(_warmed(runs)).seconds.items():
        yield Row(f"{name}, {small.tokens} tokens: {run}", 1000 * seconds, "ms")


def _rows(name: str, dit: Dit, clock: Clock, runs: Mapping[str, Forward], first: bool = True) -> Iterator[Row]:
    calls = _warmed(runs)
    rounds = clock.compared(calls)
    base, *others = runs
    if first:
        yield Row(f"{name}: FLOP of a forward pass", dit.flop / 1e12, "TFLOP")
    yield Row(f"{name}: a bf16 product's rate meanwhile", rounds.rate / 1e12, "TFLOP/s")
    for run in runs if first else others:
        seconds = rounds.seconds[run]
        share = 100 * dit.flop / seconds / rounds.rate
        yield Row(f"{name}: {run}", 1000 * seconds, "ms")
        yield Row(f"{name}: {run}, of that rate", share, "%", least=dit.wanted or None if run == OURS else None)
        yield Row(f"{name}: {run}, memory beside the weights at its peak", rounds.peaks[run] / 1e9, "GB")
        if run == OURS and share < dit.wanted and clock.rounds > 1:
            yield from longest(f"{name}: {run}", calls[run], clock)
    for run in others:
        bound = 1.0 if run == OURS and clock.device != "cpu" else None
        yield Row(f"{name}: {run} / {base}", rounds.seconds[run] / rounds.seconds[base], "times", bound)


def longest(what: str, run: Callable[[], object], clock: Clock) -> Iterator[Row]:
    """Yield the longest kernels of a run, and the time of each kind."""
    found = profiled(run, clock.device)
    for kind, seconds in sorted(found.seconds.items(), key=lambda item: -item[1]):
        yield Row(f"{what}: all of {kind}", 1000 * seconds, "ms")
    for kernel, seconds in found.longest[:LONGEST]:
        yield Row(f"{what}: kernel {kernel}", 1000 * seconds, "ms")


def _warmed(runs: Mapping[str, Forward]) -> dict[str, Run]:
    # the first block alone compiles all kernels and makes all plans
    for each in runs.values():
        each.warm()
    return {name: each.run for name, each in runs.items()}


def _stock(model: WanTransformer3DModel, dit: Dit, dtype: torch.dtype = torch.bfloat16) -> Forward:
    """Return diffusers' forward pass with its defaults; PyTorch chooses the attention."""
    device = str(model.device)
    latents = models.noise(device, torch.bfloat16, 1, dit.config["in_channels"], *dit.latents).to(dtype)
    embeds = models.prompts(1, dit.config["text_dim"], device).to(dtype)
    when = models.times(device)

    def run() -> torch.Tensor:
        model.set_attention_backend("native")
        return model(latents, when, embeds, return_dict=False)[0]

    def warm() -> torch.Tensor:
        whole, model.blocks = model.blocks, model.blocks[:1]
        try:
            return run()
        finally:
            model.blocks = whole

    return Forward(run, warm)


def _ours(
    model: WanTransformer3DModel,
    dit: Dit,
    chooser: Chooser,
    switches: Switches | None = None,
    compiler: Compiler | None = None,
    prompts: int = 1,
    groups: int = 1,
) -> Forward:
    device = str(model.device)
    latents = models.noise(device, torch.bfloat16, 1, dit.config["in_channels"], *dit.latents)
    embeds = models.prompts(prompts, dit.config["text_dim"], device)
    when = models.times(device, groups)
    model.set_attention_backend(attention_for("auto", device, torch.bfloat16))
    network = Network(model, switches or Switches(), compiler, chooser)
    prepared = network.prepare(latents, embeds, groups)
    if compiler is not None:
        network.compile_later(prepared, latents, embed_timesteps(model, when))
        compiler.wait()
        prepared = network.prepare(latents, embeds, groups)
    first = prepared if compiler is not None else _first_block(prepared)  # another number of blocks compiles again
    return Forward(
        lambda: prepared(latents, embed_timesteps(model, when)), lambda: first(latents, embed_timesteps(model, when))
    )


def _first_block(whole: Pass) -> Pass:
    text = whole.text._replace(blocks=whole.text.blocks[:1])
    return replace(whole, text=text, weights=whole.weights[:1])
