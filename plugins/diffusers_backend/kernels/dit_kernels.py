"""The DiT's kernels in Triton: a program computes one token's row in fp32."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Triton's functions take pointers, which have no type in Python

import torch
import triton
import triton.language as tl


@triton.jit
def _norm_and_rope(
    x, weight, cosines, sines, out, row_stride, tokens, width, epsilon, half: tl.constexpr, block_size: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block_size)
    inside = column < width
    values = tl.load(x + row * row_stride + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values) / width + epsilon)
    normed = values * scale * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    normed = normed.to(out.dtype.element_ty).to(tl.float32)  # where PyTorch rounds too
    even, odd = tl.split(tl.reshape(normed, (block_size // 2, 2)))
    pair = tl.arange(0, block_size // 2)
    angle = (row % tokens) * half + pair % half
    cosine = tl.load(cosines + angle, mask=pair < width // 2, other=0.0)
    sine = tl.load(sines + angle, mask=pair < width // 2, other=0.0)
    rotated = tl.reshape(tl.join(even * cosine - odd * sine, even * sine + odd * cosine), (block_size,))
    tl.store(out + row * width + column, rotated.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _add_and_norm(
    x, y, gate, weight, bias, kept, out, group_size, groups, gate_stride, weight_stride, bias_stride, width, epsilon,
    has_y: tl.constexpr, has_gate: tl.constexpr, has_norm: tl.constexpr, block_size: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    group = (row // group_size) % groups
    column = tl.arange(0, block_size)
    inside = column < width
    offset = row * width + column
    values = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)
    if has_y:
        added = tl.load(y + offset, mask=inside, other=0.0).to(tl.float32)
        if has_gate:
            added *= tl.load(gate + group * gate_stride + column, mask=inside, other=0.0)
        rounded = (values + added).to(kept.dtype.element_ty)
        tl.store(kept + offset, rounded, mask=inside)
        values = rounded.to(tl.float32)  # where PyTorch rounds too
    if has_norm:
        centred = tl.where(inside, values - tl.sum(values) / width, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred) / width + epsilon)
        weights = tl.load(weight + group * weight_stride + column, mask=inside, other=0.0)
        biases = tl.load(bias + group * bias_stride + column, mask=inside, other=0.0)
        tl.store(out + offset, (centred * scale * weights + biases).to(out.dtype.element_ty), mask=inside)


def norm_and_rope(
    x: torch.Tensor, weight: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, heads: int, epsilon: float
) -> torch.Tensor:
    """Return `x`, queries or keys, normed and rotated.

    `x` is `(b, tokens, d)`, the result `(b, tokens, heads, head)`. The rows of `x` may be a part of longer ones.
    The cosines and sines are fp32, `(1, tokens, 1, head / 2)`.
    """
    batch, tokens, width = x.shape
    rows = x.flatten(0, 1)
    out = torch.empty(batch, tokens, heads, width // heads, device=x.device, dtype=x.dtype)
    block = triton.next_power_of_2(width)
    _norm_and_rope[(batch * tokens,)](
        rows, weight, cosines.contiguous(), sines.contiguous(), out, rows.stride(0), tokens, width, epsilon,
        half=width // heads // 2, block_size=block, num_warps=_warps(block),
    )  # fmt: skip
    return out


def add_and_norm(
    x: torch.Tensor,
    y: torch.Tensor | None,
    gate: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `x + y * gate` and its layer norm times `weight` plus `bias`, both `(b, groups, n, d)`.

    Without `y` the first is `x`, without `weight` the second is empty. A batch of one becomes that of `y`. `gate`,
    `weight` and `bias` are fp32, `(d,)` or `(groups, 1, d)`.
    """
    x = x.contiguous() if y is None else x.expand_as(y).contiguous()
    y = None if y is None else y.contiguous()
    kept = x if y is None else torch.empty_like(x)
    out = x.new_empty(0) if weight is None else torch.empty_like(x)
    _, groups, size, width = x.shape
    block = triton.next_power_of_2(width)
    _add_and_norm[(x.numel() // width,)](
        x, y, gate, weight, bias, kept, out,
        size, groups, _stride(gate), _stride(weight), _stride(bias), width, epsilon,
        has_y=y is not None, has_gate=gate is not None, has_norm=weight is not None, block_size=block,
        num_warps=_warps(block),
    )  # fmt: skip
    return kept, out


def _stride(parameter: torch.Tensor | None) -> int:
    return 0 if parameter is None or parameter.dim() == 1 or len(parameter) == 1 else parameter.stride(0)


def _warps(block: int) -> int:
    return 16 if block >= 8192 else 8 if block >= 2048 else 4
