"""The VAE's kernels in Triton: a program computes a few pixels in fp32."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Triton's functions take pointers, which have no type in Python

import torch
import triton
import triton.language as tl

PROGRAM_VALUES = 4096  # values in a program


@triton.jit
def _norm(x, gamma, out, pixels, channels, scale, silu: tl.constexpr, rows: tl.constexpr, block_size: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    column = tl.arange(0, block_size)[None, :]
    inside = (row < pixels) & (column < channels)
    offset = row * channels + column
    values = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)
    length = tl.maximum(tl.sqrt(tl.sum(values * values, axis=1)), 1e-12)  # the least is that of F.normalize
    weight = tl.load(gamma + column, mask=column < channels, other=0.0).to(tl.float32) * scale
    values = values / length[:, None] * weight
    if silu:
        values = values / (1.0 + tl.exp(-values))
    tl.store(out + offset, values.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _pad(
    x, past, out, pixels, channels, frames, height, width, missing, before, top, left, picture_height, picture_width,
    x_batch, x_channel, x_frame, x_row, x_column, past_batch, past_channel, past_frame, past_row, past_column,
    has_past: tl.constexpr, rows: tl.constexpr, block_size: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    column = tl.arange(0, block_size)[None, :].to(tl.int64)
    inside = (pixel < pixels) & (column < channels)
    across, down = pixel % width - left, pixel // width % height - top
    frame, batch = pixel // (width * height) % frames, pixel // (width * height * frames)
    pictured = inside & (across >= 0) & (across < picture_width) & (down >= 0) & (down < picture_height)
    here = batch * x_batch + column * x_channel + (frame - before) * x_frame + down * x_row + across * x_column
    values = tl.load(x + here, mask=pictured & (frame >= before), other=0.0)
    if has_past:
        there = batch * past_batch + column * past_channel + (frame - missing) * past_frame
        there += down * past_row + across * past_column
        values += tl.load(past + there, mask=pictured & (frame >= missing) & (frame < before), other=0.0)
    tl.store(out + pixel * channels + column, values, mask=inside)


def norm(x: torch.Tensor, gamma: torch.Tensor, scale: float, silu: bool) -> torch.Tensor:
    """Return the norm of `x` `(b, c, ...)` over `c`, times `scale * gamma`; `silu` adds SiLU.

    Input and result have their channels last in memory.
    """
    pixels = x.movedim(1, -1).contiguous()
    out = torch.empty_like(pixels)
    channels = x.shape[1]
    count, (rows, block) = x.numel() // channels, _tile(channels)
    _norm[(triton.cdiv(count, rows),)](
        pixels, gamma.contiguous(), out, count, channels, scale, silu=silu, rows=rows, block_size=block
    )
    return out.movedim(-1, 1)


def pad(x: torch.Tensor, past: torch.Tensor | None, count: int, height: int, width: int) -> torch.Tensor:
    """Return `x` `(b, c, t, h, w)` after `count` frames, within `height` rows and `width` columns of zeros.

    The frames before `x` are those of `past`, and zeros before these. The result has its channels last in memory.
    """
    batch, channels, frames, rows_of_x, columns_of_x = x.shape
    missing = count - (0 if past is None else past.shape[2])
    size = batch, frames + count, rows_of_x + 2 * height, columns_of_x + 2 * width
    out = torch.empty(*size, channels, device=x.device, dtype=x.dtype)
    pixels, (rows, block) = out.numel() // channels, _tile(channels)
    _pad[(triton.cdiv(pixels, rows),)](
        x, past, out, pixels, channels, *size[1:], missing, count, height, width, rows_of_x, columns_of_x,
        *x.stride(), *((0,) * 5 if past is None else past.stride()),
        has_past=past is not None, rows=rows, block_size=block,
    )  # fmt: skip
    return out.movedim(-1, 1)


def _tile(channels: int) -> tuple[int, int]:
    """Return a program's pixels, and the power of two that holds their channels."""
    block = triton.next_power_of_2(channels)
    return max(1, PROGRAM_VALUES // block), block
