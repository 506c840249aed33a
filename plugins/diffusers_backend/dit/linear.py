"""Linear layers, and the tanh form of GELU, in the forms that run fastest."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from plugins.wan.weights.quantised.codes import Weight, dense, product

INNER = 2 * math.sqrt(2 / math.pi)  # twice, as (1 + tanh(x)) / 2 is sigmoid(2 x)
CUBIC = INNER * 0.044715


def linear(
    x: torch.Tensor,
    weight: Weight,
    bias: torch.Tensor,
    down: torch.Tensor | None = None,
    up: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return `x` `(..., in)` through a layer and its adapters, `(..., out)`.

    Those add the product of `up` `(out, rank)` and `down` `(rank, in)` to `weight`.
    """
    if down is not None and up is not None:
        return _with_product(x, weight, bias, down, up)
    # On a CPU a product writes its bias out before it begins. A bias apart from the product is added by the compiler in
    # the next pass over the result; it stays apart if something, such as a view, stands between.
    if x.device.type == "cpu" and torch.compiler.is_compiling():
        return product(x.flatten(0, -2), weight).unflatten(0, x.shape[:-1]) + bias
    return product(x, weight, bias)


def linears(x: torch.Tensor, layers: Sequence[tuple[Any, ...]]) -> tuple[torch.Tensor, ...]:
    """Return `x` `(..., in)` through several layers, each the arguments of `linear`."""
    downs = [down for _, _, down, _ in layers if down is not None]
    if len(downs) < len(layers):
        return tuple(linear(x, *layer) for layer in layers)
    rows = x.flatten(0, -2)
    thin = functional.linear(rows, torch.cat(downs))  # one product: a thin one takes more than its share of time
    smalls = thin.split([len(down) for down in downs], dim=1)
    wholes = [
        _beside(rows, weight, bias, small, up) for (weight, bias, _, up), small in zip(layers, smalls, strict=True)
    ]
    return tuple(whole.unflatten(0, x.shape[:-1]) for whole in wholes)


def _with_product(
    x: torch.Tensor, weight: Weight, bias: torch.Tensor, down: torch.Tensor, up: torch.Tensor
) -> torch.Tensor:
    rows = x.flatten(0, -2)
    return _beside(rows, weight, bias, functional.linear(rows, down), up).unflatten(0, x.shape[:-1])


def _beside(
    rows: torch.Tensor, weight: Weight, bias: torch.Tensor, small: torch.Tensor, up: torch.Tensor
) -> torch.Tensor:
    if torch.compiler.is_compiling() or not isinstance(weight, torch.Tensor):
        return product(rows, weight) + functional.linear(small, up) + bias
    # the small product first: the sum is rounded once, and the large one is added in place
    return torch.addmm(bias, small, up.t()).addmm_(rows, weight.t())


def gelu(x: torch.Tensor) -> torch.Tensor:
    """Return `gelu(x)`, by PyTorch's kernel except in fp32 on a CPU."""
    # there PyTorch's own takes longer than the passes of which it consists
    if x.device.type != "cpu" or x.dtype is not torch.float32:
        return functional.gelu(x, approximate="tanh")
    if torch.compiler.is_compiling():
        return x * torch.sigmoid(x * (INNER + CUBIC * x * x))
    return torch.addcmul(x.new_tensor(INNER), x, x, value=CUBIC).mul_(x).sigmoid_().mul_(x)


def linear_with_gelu(x: torch.Tensor, weight: Weight, bias: torch.Tensor) -> torch.Tensor:
    """Return `gelu(linear(x))` `(..., out)` by one kernel of cuBLAS, which rounds once, not twice."""
    # on a CPU the same operation is the other GELU, of the error function
    rows = torch._addmm_activation(bias, x.flatten(0, -2), dense(weight, x.dtype).t(), use_gelu=True)
    return rows.unflatten(0, x.shape[:-1])
