"""The numbers in GGUF's blocks.

Layouts: https://github.com/ggml-org/ggml, src/ggml-common.h and src/ggml-quants.c. Each function turns blocks of bytes
`(n, size)` into numbers in fp32, `(n, numbers)`.
"""

from collections.abc import Callable, Mapping

import torch

Blocks = torch.Tensor


def q8_0(blocks: Blocks) -> torch.Tensor:
    scale, codes = blocks.split([2, 32], dim=1)
    return _half(scale) * codes.contiguous().view(torch.int8)


def q4_0(blocks: Blocks) -> torch.Tensor:
    scale, codes = blocks.split([2, 16], dim=1)
    return _half(scale) * (_nibbles(codes).to(torch.int8) - 8)


def q4_1(blocks: Blocks) -> torch.Tensor:
    scale, least, codes = blocks.split([2, 2, 16], dim=1)
    return _half(scale) * _nibbles(codes) + _half(least)


def q5_0(blocks: Blocks) -> torch.Tensor:
    scale, fifth, codes = blocks.split([2, 4, 16], dim=1)
    return _half(scale) * ((_nibbles(codes) | _bits(fifth) << 4).to(torch.int8) - 16)


def q5_1(blocks: Blocks) -> torch.Tensor:
    scale, least, fifth, codes = blocks.split([2, 2, 4, 16], dim=1)
    return _half(scale) * (_nibbles(codes) | _bits(fifth) << 4) + _half(least)


def q4_k(blocks: Blocks) -> torch.Tensor:
    scale, least, packed, codes = blocks.split([2, 2, 12, 128], dim=1)
    return _of_groups(scale, least, packed, _group_nibbles(codes))


def q5_k(blocks: Blocks) -> torch.Tensor:
    scale, least, packed, fifth, codes = blocks.split([2, 2, 12, 32, 128], dim=1)
    shifts = torch.arange(8, dtype=torch.uint8, device=blocks.device).view(1, 8, 1)
    high = fifth.unsqueeze(1) >> shifts & 1  # a bit of each byte for each group
    return _of_groups(scale, least, packed, _group_nibbles(codes) | high << 4)


def q6_k(blocks: Blocks) -> torch.Tensor:
    low, high, scales, scale = blocks.split([128, 64, 16, 2], dim=1)
    count = len(blocks)
    # each half of a block: 64 bytes with two nibbles, 32 bytes with four pairs of bits
    nibbles = torch.stack([low & 15, low >> 4], dim=1).view(count, 2, 2, 64).transpose(1, 2).reshape(count, 2, 4, 32)
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=blocks.device).view(1, 1, 4, 1)
    pairs = high.view(count, 2, 1, 32) >> shifts & 3
    codes = ((nibbles | pairs << 4).to(torch.int8) - 32).view(count, 16, 16)
    factors = _half(scale) * scales.contiguous().view(torch.int8)
    return (factors.unsqueeze(2) * codes).flatten(1)


NUMBERS: Mapping[str, Callable[[Blocks], torch.Tensor]] = {
    "Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0, "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k,
}  # fmt: skip


def _half(raw: Blocks) -> torch.Tensor:
    """Return the fp16 number `(n, 1)` in two bytes, in fp32."""
    return raw.contiguous().view(torch.float16).float()


def _nibbles(codes: Blocks) -> torch.Tensor:
    """Return the lower halves of all bytes, then the upper ones."""
    return torch.cat([codes & 15, codes >> 4], dim=1)


def _bits(packed: Blocks) -> torch.Tensor:
    """Return the bits of four bytes, the lowest first, `(n, 32)`."""
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return (packed.unsqueeze(2) >> shifts & 1).flatten(1)


def _group_nibbles(codes: Blocks) -> torch.Tensor:
    """Return the nibbles of 128 bytes as 8 groups of 32, `(n, 8, 32)`."""
    of_pairs = codes.view(-1, 4, 32)  # two groups in every 32 bytes
    return torch.stack([of_pairs & 15, of_pairs >> 4], dim=2).view(-1, 8, 32)


def _of_groups(scale: Blocks, least: Blocks, packed: Blocks, codes: torch.Tensor) -> torch.Tensor:
    """Return the numbers of 8 groups with 6-bit scales and minima, in 12 bytes."""
    first, second, both = packed.split([4, 4, 4], dim=1)
    scales = torch.cat([first & 63, both & 15 | first >> 6 << 4], dim=1)
    minima = torch.cat([second & 63, both >> 4 | second >> 6 << 4], dim=1)
    factors, offsets = _half(scale) * scales, _half(least) * minima
    return (factors.unsqueeze(2) * codes - offsets.unsqueeze(2)).flatten(1)
