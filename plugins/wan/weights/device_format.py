"""The format in which each weight stays on the device; without heavy libraries."""

import re
from math import prod

from registry.folders.dtypes import BLOCKS, stored_bytes

AUTO, DENSE, FP8, INT8 = "auto", "dense", "fp8", "int8"
FP8_PRODUCTS = "fp8 products"  # fp8 whose products are computed in fp8, too
WEIGHTS = (AUTO, DENSE, FP8, INT8)  # values of the option
SCALE_BYTES = 4  # of the factor of each row
_OWN = {"F8_E4M3": FP8, "I8": INT8}
_BLOCK = re.compile(r"blocks\.\d+\..+\.weight")
# the weights of linear layers in blocks; a table of positions is none
_LINEARS = {
    "transformer": _BLOCK,
    "transformer_2": _BLOCK,
    "text_encoder": re.compile(r"encoder\.block\.\d+\..+(?<!relative_attention_bias)\.weight"),
}


def format_of(
    part: str, name: str, dtype: str, shape: tuple[int, ...], option: str, *, merging: bool = False
) -> str | None:
    """Return the format of a weight in codes; None for plain numbers.

    `dtype` is the format in the file; `option` is one of `WEIGHTS`, of which fp8 and int8 are for the transformers.
    GGUF's numbers with `merging` adapters become int8: nothing here writes its blocks.
    """
    linear = _LINEARS.get(part)
    if linear is None or len(shape) != 2 or not linear.fullmatch(name) or option == DENSE:
        return None
    if option in (FP8, INT8) and linear is _BLOCK:
        return option
    if dtype in BLOCKS:
        return INT8 if merging and linear is _BLOCK else dtype
    return _OWN.get(dtype)


def code_bytes(form: str, shape: tuple[int, ...]) -> int:
    """Return the device bytes of a weight `(out, in)` in codes, with its scales."""
    if form in BLOCKS:
        return stored_bytes(form, shape)
    return prod(shape) + SCALE_BYTES * shape[0]
