"""Single operations of a block at true shapes: attention, products, fused operations."""

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional

from bench.card import models
from bench.card.accuracy import exact_attention, relative_error
from bench.card.clock import Clock
from bench.card.shapes import Dit
from bench.tools.table import Row
from plugins.diffusers_backend.dit.attention import NATIVE, attend, backends_for
from plugins.diffusers_backend.dit.fused_ops import KernelConfig, norm_and_rope, norm_modulate
from plugins.diffusers_backend.dit.linear import gelu, linear_with_gelu

QUERIES = 64  # queries of the attention in fp64, over all keys


def attention(name: str, dit: Dit, clock: Clock, rate: float) -> Iterator[Row]:
    """Yield the share of the matrix rate and the error of each backend here."""
    heads, head = dit.config["num_attention_heads"], dit.config["attention_head_dim"]
    query, key, value = models.noise(clock.device, torch.bfloat16, 3, 1, dit.tokens, heads, head)
    some = torch.linspace(0, dit.tokens - 1, QUERIES, device=clock.device).long()
    exact = exact_attention(query[:, some], key, value)
    for backend in backends_for(
        NATIVE, None if clock.device == "cpu" else torch.cuda.get_device_capability(clock.device)
    ):
        run = _attention(query, key, value, backend)
        try:
            got = run()[:, some]
        except (RuntimeError, ValueError, ImportError) as error:
            print(f"  {name}: no attention by {backend}: {str(error).strip().partition(chr(10))[0][:120]}")
            continue
        share = 100 * 4 * dit.tokens**2 * dit.width / clock.often(run) / rate
        yield Row(f"{name}: attention by {backend}, of the matrix rate", share, "%")
        yield Row(f"{name}: attention by {backend}, error", relative_error(got, exact))


def products(name: str, dit: Dit, clock: Clock, rate: float) -> Iterator[Row]:
    """Yield each product's share of the matrix rate, with fused GELU too."""
    width, wide = dit.width, int(dit.config["ffn_dim"])
    shapes = {"q": (width, width), "qkv": (3 * width, width), "up": (wide, width), "down": (width, wide)}
    for what, (rows, columns) in shapes.items():
        x = models.noise(clock.device, torch.bfloat16, dit.tokens, columns)
        weight = models.noise(clock.device, torch.bfloat16, rows, columns) * models.DEVIATION
        bias = weight[:, 0].contiguous()
        flop = 2 * dit.tokens * rows * columns

        def plain(x: torch.Tensor = x, weight: torch.Tensor = weight, bias: torch.Tensor = bias) -> torch.Tensor:
            return functional.linear(x, weight, bias)

        runs: dict[str, Callable[[], torch.Tensor]] = {what: plain}
        if what == "up":
            runs["up and GELU"] = lambda plain=plain: gelu(plain())
            runs["up with GELU in it"] = lambda inputs=(x, weight, bias): linear_with_gelu(*inputs)
        for run, call in runs.items():
            yield Row(f"{name}: {run}, of the matrix rate", 100 * flop / clock.often(call) / rate, "%")


def between(name: str, dit: Dit, clock: Clock) -> Iterator[Row]:
    """Yield the bytes per second of the operations between the products."""
    # as if each tensor were read or written once
    x = models.noise(clock.device, torch.bfloat16, 1, 1, dit.tokens, dit.width)
    shift, scale = models.noise(clock.device, torch.float32, 2, 1, 1, 1, dit.width)
    copy, shape = torch.empty_like(x), KernelConfig(dit.config["num_attention_heads"], 1e-6, NATIVE)
    ours = shape._replace(norm_kernel=True, rope_kernel=True)
    angles = models.noise(clock.device, torch.float32, 1, dit.tokens, 1, dit.width // shape.heads // 2)
    query = x[0], x[0, 0, 0], (angles.cos(), angles.sin())
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "a copy": (2, lambda: copy.copy_(x)),
        "norm and modulation": (2, lambda: norm_modulate(x, shift, scale, shape)),
        "norm and modulation, compiled": (2, _compiled(norm_modulate, x, shift, scale, shape)),
        "norm and modulation, our kernel": (2, lambda: norm_modulate(x, shift, scale, ours)),
        "norm and rotation": (2, lambda: norm_and_rope(*query, shape)),
        "norm and rotation, compiled": (2, _compiled(norm_and_rope, *query, shape)),
        "norm and rotation, our kernel": (2, lambda: norm_and_rope(*query, ours)),
    }
    for run, (passes, call) in runs.items():
        yield Row(f"{name}: {run}", passes * x.nbytes / clock.often(call) / 1e9, "GB/s")


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: str) -> Callable[[], torch.Tensor]:
    return lambda: attend(query, key, value, None, backend)


def _compiled(function: Callable[..., torch.Tensor], *inputs: object) -> Callable[[], object]:
    quick = torch.compile(function, dynamic=False)
    return lambda: quick(*inputs)
