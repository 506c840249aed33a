"""A process in which Triton interprets our kernels: each one's error against PyTorch's words, as JSON.

By itself, since TRITON_INTERPRET counts at the moment when Triton is imported.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch.nn import functional

from plugins.diffusers_backend.fast.kernels import operations, pictures, source

WIDTHS = ((2, 128), (3, 20))  # heads and their size: in all a power of two, and not
BATCHES = ((1, 1, 1), (1, 2, 3), (2, 2, 2))  # of the input, of what is added, and groups
EPSILON = 1e-6
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def random(seed: int, *shape: int, dtype: Any = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def off(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the distance, relative in the 2-norm."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def norm_and_turn(dtype: torch.dtype) -> Iterator[float]:
    for heads, head in WIDTHS:
        width = heads * head
        packed, weight = random(1, 2, 5, 3 * width, dtype=dtype), 1 + 0.1 * random(2, width)
        angles = random(3, 1, 5, 1, head // 2)
        given = (weight.to(dtype), angles.cos(), angles.sin(), heads, EPSILON)
        for x in (*packed.chunk(3, dim=-1), random(4, 1, 5, width, dtype=dtype)):
            yield off(source.norm_and_turn(x, *given), operations.plainly_norm_and_turn(x, *given))


def parameters(groups: int, width: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield gate, weight and bias: as the modulation has them, views of longer rows; as a norm has them; and no gate."""
    views = random(5, groups, 6, width).unsqueeze(2).unbind(1)
    yield views[2], 1 + views[1], views[0]
    yield views[2], random(6, width), random(7, width)
    yield None, 1 + views[4], views[3]


def add_and_norm(dtype: torch.dtype) -> Iterator[float]:
    for (batch, others, groups), width in itertools.product(BATCHES, (100,)):
        x = random(8, batch, groups, 4, width, dtype=dtype)
        y = 3 * random(9, others, groups, 4, width, dtype=dtype)
        for gate, weight, bias in parameters(groups, width):
            got = source.add_and_norm(x, y, gate, weight, bias, EPSILON)
            expected = operations.plainly_add_and_norm(x, y, gate, weight, bias, EPSILON)
            yield max(off(*each) for each in zip(got, expected, strict=True))
            _, alone = source.add_and_norm(x, None, None, weight, bias, EPSILON)
            yield off(alone, operations.plainly_norm(x, weight, bias, EPSILON))
            if gate is not None:
                added, _ = source.add_and_norm(x, y, gate, None, None, 0.0)
                yield off(added, operations.plainly_add(x, y, gate))


def norm(dtype: torch.dtype) -> Iterator[float]:
    for channels, silu in itertools.product((6, 96), (True, False)):
        gamma = 1 + 0.1 * random(1, channels)
        for shape in ((2, channels, 3, 5, 4), (3, channels, 7, 2)):
            x = random(2, *shape, dtype=dtype)
            x[0, :, ..., 0] = 0
            normed = functional.normalize(x.float(), dim=1) * channels**0.5 * gamma.view(-1, *(1,) * (x.dim() - 2))
            expected = functional.silu(normed) if silu else normed
            yield off(pictures.norm(x, gamma.to(dtype).float(), channels**0.5, silu).float(), expected)


def pad(dtype: torch.dtype) -> Iterator[float]:
    """Yield 0 where every bit is in its place."""
    layouts = (torch.contiguous_format, torch.channels_last_3d)
    for channels, frames, layout in itertools.product((20,), (None, 1, 2), layouts):
        x = random(3, 2, channels, 3, 5, 4, dtype=dtype).contiguous(memory_format=layout)
        past = None if frames is None else random(4, 2, channels, frames, 5, 4, dtype=dtype)
        for count, height, width in ((2, 1, 1), (2, 0, 0)):
            before = x.new_zeros(2, channels, count - (frames or 0), 5, 4)
            whole = torch.cat([before, *(() if past is None else (past,)), x], dim=2)
            got = pictures.pad(x, past, count, height, width)
            assert got.is_contiguous(memory_format=torch.channels_last_3d)
            yield float(not torch.equal(got, functional.pad(whole, (width, width, height, height))))


KERNELS = (norm_and_turn, add_and_norm, norm, pad)


def errors(kernel: Any) -> dict[str, float]:
    return {str(dtype): max(kernel(dtype)) for dtype in DTYPES}


if __name__ == "__main__":
    print(json.dumps({kernel.__name__: errors(kernel) for kernel in KERNELS}))
