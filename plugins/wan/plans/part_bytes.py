"""The bytes of each weight of a part in memory, by a model's options."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

from plugins.wan.checkpoint import DECODER
from plugins.wan.weights import offload_groups
from plugins.wan.weights.device_format import AUTO, code_bytes, format_of
from registry.folders.dtypes import is_quantised, stored_bytes

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
FP16, FP32 = "fp16", "fp32"
# Encoding in bf16 visibly drifts; CLIP is in fp32 in the published recipe, too.
IN_FP32 = ("vae", "image_encoder")
# `_keep_in_fp32_modules` of diffusers' and transformers' classes; those of transformers' are for fp16 alone
KEPT_IN_FP32 = {
    "WanTransformer3DModel": frozenset({"rope", "time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"})
}
KEPT_BESIDE_FP16 = {"UMT5EncoderModel": frozenset({"wo"})}
ROTATIONS = {"rope_max_seq_len": 1024, "attention_head_dim": 128}  # with the defaults of diffusers
BUFFERS = "buffers"  # of a part's tables among the names of weights


class Stored(NamedTuple):
    """A tensor's number format and shape in its file, or as published."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Formats:
    """The number formats of a model: `dtype` of the transformers and the text encoder.

    `weights` is the option of `device_format`; with `merging`, adapters are part of the transformers' weights.
    """

    dtype: str
    decoder_dtype: str
    weights: str = AUTO
    merging: bool = False

    @classmethod
    def of(cls, options: Mapping[str, object], dtype: str, device: str, *, merging: bool = False) -> "Formats":
        """Return the formats by a model's options, with `dtype` for the transformers."""
        usual = FP32 if device == "cpu" else "bf16"
        asked = str(options.get("decoder_dtype"))
        named, of_decoder = (each if each in BYTES else usual for each in (dtype, asked))
        return cls(named, of_decoder, str(options.get("weights", AUTO)), merging)

    def dtype_of(self, part: str) -> str:
        if part == DECODER:
            return self.decoder_dtype
        return FP32 if part in IN_FP32 else self.dtype


@dataclass(frozen=True)
class Sizes:
    """The bytes of each weight of a part, and of its tables.

    `codes` are the bytes of weights in codes, by format; the others are in `dtype`.
    """

    part: str
    by_name: Mapping[str, int]
    dtype: str
    codes: Mapping[str, int]

    @property
    def format(self) -> str:
        """The format of most weights in codes, or of the numbers without any."""
        return max(self.codes, key=lambda form: self.codes[form], default=self.dtype)

    @cached_property
    def total(self) -> int:
        return sum(self.by_name.values())

    @cached_property
    def offloaded(self) -> int:
        """The device bytes with group offload."""
        return offload_groups.device_bytes(self.part, self.by_name)


def sizes_of(
    part: str, class_name: str, settings: Mapping[str, Any], tensors: Mapping[str, Stored], formats: Formats
) -> Sizes:
    """Return the sizes of a part's tensors in memory."""
    dtype = formats.dtype_of(part)
    kept = KEPT_IN_FP32.get(class_name, frozenset())
    if dtype == FP16:
        kept |= KEPT_BESIDE_FP16.get(class_name, frozenset())
    merging = formats.merging and part.startswith("transformer")
    sizes, forms = {}, Counter[str]()
    for name, stored in tensors.items():
        if (form := format_of(part, name, *stored, formats.weights, merging=merging)) is not None:
            sizes[name] = code_bytes(form, stored.shape)
            forms[form] += sizes[name]
        elif "F" in stored.dtype or is_quantised(stored.dtype):
            item = BYTES[dtype] if kept.isdisjoint(name.split(".")) else BYTES[FP32]
            sizes[name] = item * prod(stored.shape)
        else:
            sizes[name] = stored_bytes(*stored)
    sizes[BUFFERS] = buffer_bytes(part, settings)
    return Sizes(part, sizes, dtype, forms)


def buffer_bytes(part: str, settings: Mapping[str, Any]) -> int:
    """Return the bytes of computed tables: a transformer's rotations, in fp32."""
    if not part.startswith("transformer"):
        return 0
    positions, head = (settings.get(key, default) for key, default in ROTATIONS.items())
    return 2 * int(positions) * int(head) * BYTES[FP32]  # a cosine and a sine
