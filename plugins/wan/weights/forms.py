"""The form of each weight on the device: numbers of a dtype, or codes."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch

from plugins.wan.weights.device_format import AUTO, format_of
from plugins.wan.weights.quantised.layer import layout
from plugins.wan.weights.safetensors import StoredTensor, dtype_in

Layout = tuple[tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class Form:
    """Numbers of a `dtype`, or codes of a `format` for products in that dtype."""

    dtype: torch.dtype
    format: str | None = None

    def tensors(self, name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Layout]]:
        """Yield the name, shape and dtype of each tensor of a weight."""
        if self.format is None:
            yield name, (shape, self.dtype)
            return
        layer = name.removesuffix("weight")
        for parameter, each in layout(self.format, shape).items():
            yield layer + parameter, each

    def nbytes(self, shape: tuple[int, ...]) -> int:
        return sum(prod(each) * dtype.itemsize for _, (each, dtype) in self.tensors("", shape))


def forms_of(
    part: str,
    stored: Mapping[str, StoredTensor],
    dtype: torch.dtype,
    kept_in_fp32: Collection[str] = (),
    weights: str = AUTO,
    *,
    merging: bool = False,
) -> dict[str, Form]:
    """Return the form of each tensor of a part, by a model's option `weights`."""
    forms = {}
    for name, each in stored.items():
        kind = dtype_in(name, each, dtype, kept_in_fp32)
        forms[name] = Form(kind, format_of(part, name, each.kind, each.shape, weights, merging=merging))
    return forms
