"""Linear layers in the form that the compiler fuses best."""

from __future__ import annotations

import torch
from torch.nn import functional


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return `x` `(..., in)` through a layer, `(..., out)`."""
    # On a CPU a product writes its bias out before it begins. A bias apart from the product is added by the compiler in
    # the next pass over the result; it stays apart if something, such as a view, stands between.
    if x.device.type == "cpu" and torch.compiler.is_compiling():
        return functional.linear(x.flatten(0, -2), weight).unflatten(0, x.shape[:-1]) + bias
    return functional.linear(x, weight, bias)
