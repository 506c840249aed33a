"""Weights in codes: fp8 and int8 with row-wise scales, and GGUF's blocks."""

from typing import NamedTuple

import torch
from torch.nn import functional

from plugins.wan.weights.device_format import FP8, FP8_PRODUCTS, INT8
from plugins.wan.weights.quantised.blocks import NUMBERS
from registry.folders.dtypes import BLOCKS

DTYPES = {FP8: torch.float8_e4m3fn, FP8_PRODUCTS: torch.float8_e4m3fn, INT8: torch.int8}
LARGEST = {FP8: 448.0, INT8: 127.0}  # of the codes


class Codes(NamedTuple):
    """A weight `(out, in)` in codes of a format, with factors in fp32.

    fp8 and int8 have codes `(out, in)` and a `scale` `(out, 1)`; GGUF's formats have each row's bytes and no scale.
    """

    codes: torch.Tensor
    scale: torch.Tensor | None
    format: str

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.codes.shape
        if block := BLOCKS.get(self.format):
            columns = columns // block.size * block.numbers
        return rows, columns


Weight = torch.Tensor | Codes


def dense(weight: Weight, dtype: torch.dtype) -> torch.Tensor:
    """Return plain numbers as they are, those of codes in `dtype`; `(out, in)`."""
    if isinstance(weight, torch.Tensor):
        return weight
    if weight.scale is None:
        return numbers(weight.codes, weight.format).to(dtype)
    # codes are exact in 16 bits; the product is computed in fp32 and rounded once
    return weight.codes.to(dtype).mul_(weight.scale)


def product(x: torch.Tensor, weight: Weight, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return `x` `(..., in)` times a weight, plus the bias, `(..., out)`."""
    if isinstance(weight, Codes) and weight.format == FP8_PRODUCTS:
        return _fp8_product(x, weight, bias)
    return functional.linear(x, dense(weight, x.dtype), bias)


def _fp8_product(x: torch.Tensor, weight: Codes, bias: torch.Tensor | None) -> torch.Tensor:
    assert weight.scale is not None
    codes, scale = quantise(x.flatten(0, -2), FP8)
    rows = torch._scaled_mm(
        codes, weight.codes.t(), scale_a=scale, scale_b=weight.scale.t(), bias=bias, out_dtype=x.dtype
    )
    return rows.unflatten(0, x.shape[:-1])


def numbers(rows: torch.Tensor, block_format: str) -> torch.Tensor:
    """Return the numbers in rows of GGUF's bytes, `(rows, in)` in fp32."""
    blocks = rows.reshape(-1, BLOCKS[block_format].size)
    return NUMBERS[block_format](blocks).view(len(rows), -1)


def quantise(rows: torch.Tensor, form: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the codes of rows `(n, in)`, and their scales `(n, 1)`."""
    rows, largest = rows.float(), LARGEST[form]
    # both ends of each row: the absolute values of all numbers would take a copy
    scale = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True)) / largest
    # a row of zeros stays one; NaN and infinity stay in the scale, so that the result is not finite either
    codes = rows / scale.masked_fill(scale == 0, 1)
    return (codes if form == FP8 else codes.round_()).to(DTYPES[form]), scale
