"""The number formats in files of quantised weights, by the format's name."""

import re
from collections.abc import Mapping

from plugins.wan.plans.part_bytes import Stored
from plugins.wan.weights.device_format import AUTO, INT8, format_of
from registry.folders.dtypes import BLOCKS

Q4, FP8 = "GGUF Q4_K_M", "fp8"
_NAMED = re.compile(r"(?i)(Q\d_K(?:_[SML])?|Q\d_\d)|fp8|int8")
# llama.cpp's mixes: values and second feed-forward layers of some blocks have more bits; here, from above, of all
_MORE = re.compile(r".*\.(attn[12]\.to_v|ffn\.net\.2|SelfAttention\.v|DenseReluDense\.wo)\.weight")
_MIXES = {"Q4_K_M": "Q6_K", "Q5_K_M": "Q6_K", "Q4_K_S": "Q5_K", "Q5_K_S": "Q6_K"}
_OF_CODES = {FP8: "F8_E4M3", INT8: "I8"}


def named_in(file: str) -> str | None:
    """Return the format in a file's name, such as `GGUF Q4_K_M`, or None."""
    if (found := _NAMED.search(file)) is None:
        return None
    return f"GGUF {found[1].upper()}" if found[1] else found[0].lower()


def stored_as(form: str, part: str, tensors: Mapping[str, Stored]) -> Mapping[str, Stored]:
    """Return a part's tensors as in a file of this format."""
    mix = form.removeprefix("GGUF ")
    kind = _OF_CODES.get(form) or next((each for each in (mix, mix[:4]) if each in BLOCKS), None)
    if kind is None:
        return tensors
    stored = {}
    for name, each in tensors.items():
        own = _MIXES.get(mix, kind) if _MORE.fullmatch(name) else kind
        is_linear = format_of(part, name, own, each.shape, AUTO) is not None
        fits = own not in BLOCKS or (len(each.shape) == 2 and each.shape[1] % BLOCKS[own].numbers == 0)
        stored[name] = Stored(own, each.shape) if is_linear and fits else each
    return stored
