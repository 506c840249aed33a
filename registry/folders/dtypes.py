"""Number formats of stored tensors, by the names of safetensors and GGUF."""

from collections.abc import Mapping
from math import prod
from typing import NamedTuple


class Block(NamedTuple):
    """A GGUF format: a block of `size` bytes holds `numbers` numbers of a row."""

    numbers: int
    size: int


# https://github.com/huggingface/safetensors#format
ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
# https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
BLOCKS: Mapping[str, Block] = {
    "Q4_0": Block(32, 18), "Q4_1": Block(32, 20), "Q5_0": Block(32, 22), "Q5_1": Block(32, 24), "Q8_0": Block(32, 34),
    "Q4_K": Block(256, 144), "Q5_K": Block(256, 176), "Q6_K": Block(256, 210),
}  # fmt: skip
CODES = ("F8_E4M3", "F8_E5M2", "I8")  # stand for numbers together with a scale


def stored_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the bytes of a tensor whose rows are whole blocks."""
    if block := BLOCKS.get(dtype):
        return prod(shape) // block.numbers * block.size
    return ITEM_BYTES[dtype] * prod(shape)


def is_quantised(dtype: str) -> bool:
    return dtype in BLOCKS or dtype in CODES
