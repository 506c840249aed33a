"""The header of a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

from registry.errors import FolderError
from registry.folders.dtypes import BLOCKS, stored_bytes
from registry.folders.files import GGUF, beginning
from registry.folders.gguf_fields import MAX_HEADER_BYTES, MOST_NAME, Broken, Fields, Short
from registry.folders.safetensors import MAX_NUMBER, MOST_TENSORS, Tensor

STEPS = (256 * 2**10, 16 * 2**20, MAX_HEADER_BYTES)  # bytes that are read, until the header is whole
VERSIONS = (2, 3)
MOST_FIELDS, MOST_SIDES = 20_000, 5
MOST_ALIGNMENT = 2**16
KEY_BYTES = 2**16 - 1
# https://github.com/ggml-org/ggml/blob/master/include/ggml.h: enum ggml_type
KINDS: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
READ = ("F32", "F16", "BF16", *BLOCKS)
ARCHITECTURES: Mapping[str, tuple[str, ...]] = {
    "transformer": ("wan",),
    "transformer_2": ("wan",),
    "text_encoder": ("t5encoder", "t5"),
    "vae": ("wan",),
}
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."  # city96/ComfyUI-GGUF, tools/convert.py
ARCHITECTURE, ALIGNMENT, SPLIT = "general.architecture", "general.alignment", "split.count"
DEFAULT_ALIGNMENT = 32


class _Info(NamedTuple):
    name: str
    sides: tuple[int, ...]  # the fastest first
    kind: int
    offset: int


def read(path: Path, part: str) -> dict[str, Tensor]:
    """Return the tensors of a GGUF file of `part`, by the file's names.

    Raises `FolderError` for other versions, architectures and formats, and for tensors that overlap or lie outside.
    """
    what = f"{path.name} of {part}"
    for step in STEPS:
        head, size = beginning(path, what, step, gguf=True)
        try:
            return _tensors(path, part, head, size)
        except Broken as error:
            raise FolderError(f"{what} {error}", path) from error
        except Short:
            if len(head) < step:  # all of the file
                break
    else:
        raise FolderError(f"{what} has a header of more than {MAX_HEADER_BYTES:,} bytes", path)
    raise FolderError(f"{what} is cut short within its header; fetch it again", path, missing=True)


def _tensors(path: Path, part: str, head: bytes, size: int) -> dict[str, Tensor]:
    fields = Fields(head, len(GGUF))
    _require_version(fields)
    tensors, count = fields.whole("<Q"), fields.whole("<Q")
    if tensors > MOST_TENSORS or count > MOST_FIELDS:
        most = f"{MOST_TENSORS:,} and {MOST_FIELDS:,}"
        raise Broken(f"has {tensors:,} tensors and {count:,} values by its header, more than {most}")
    values: dict[str, object] = {}
    for _ in range(count):
        key, value = fields.text(KEY_BYTES), fields.value(fields.whole("<I"))
        if key in (ARCHITECTURE, ALIGNMENT, SPLIT) or key.startswith(ORIGINAL_SHAPE):
            values[key] = value
    _require_architecture(values, part)
    infos = [_info(fields) for _ in range(tensors)]
    alignment = _alignment(values)
    begin = -(-fields.position // alignment) * alignment
    found: dict[str, Tensor] = {}
    for info in infos:
        if info.name in found:
            raise Broken(f"holds two tensors named {info.name[:100]!r}")
        if info.offset % alignment:
            raise Broken(f"holds {info.name[:100]!r} at {info.offset:,}, which is no multiple of {alignment}")
        found[info.name] = _tensor(path, info, begin, values)
    _require_places(path, part, found, size)
    return found


def _require_version(fields: Fields) -> None:
    version = fields.whole("<I")
    if version in VERSIONS:
        return
    if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
        raise Broken("is a GGUF file in big-endian order, and little-endian ones are read")
    raise Broken(f"is a GGUF file of version {version:,}, and 2 and 3 are read")


def _require_architecture(values: Mapping[str, object], part: str) -> None:
    if values.get(SPLIT, 1) not in (0, 1, None):
        raise Broken("is one of several GGUF files of a split model: merge them, as gguf-split does")
    got, known = values.get(ARCHITECTURE), ARCHITECTURES[part]
    if got is not None and got not in known:
        raise Broken(f"is a GGUF file of the architecture {str(got)[:40]!r}, {part} needs {' or '.join(known)}")


def _alignment(values: Mapping[str, object]) -> int:
    value = values.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or not 1 <= value <= MOST_ALIGNMENT:
        raise Broken(f"has the alignment {str(value)[:40]}, from 1 to {MOST_ALIGNMENT:,} is read")
    return value


def _info(fields: Fields) -> _Info:
    name, many = fields.text(MOST_NAME), fields.whole("<I")
    if many > MOST_SIDES:
        raise Broken(f"holds {name[:100]!r} of {many:,} dimensions, at most {MOST_SIDES} are read")
    sides = tuple(fields.whole("<Q") for _ in range(many))
    return _Info(name, sides, fields.whole("<I"), fields.whole("<Q"))


def _tensor(path: Path, info: _Info, begin: int, values: Mapping[str, object]) -> Tensor:
    dtype = KINDS.get(info.kind, f"the unknown format {info.kind}")
    if dtype not in READ:
        raise Broken(f"holds {info.name[:100]!r} in {dtype}, and {', '.join(READ)} are read")
    shape = info.sides[::-1]
    if prod(shape) > MAX_NUMBER:
        raise Broken(f"holds {info.name[:100]!r} of {'x'.join(map(str, shape))}, beyond any file")
    logical = _logical(info, shape, values)
    if (block := BLOCKS.get(dtype)) and not all(each and each[-1] % block.numbers == 0 for each in (shape, logical)):
        got = "x".join(map(str, logical))
        raise Broken(f"holds {info.name[:100]!r} of {got} in {dtype}, whose rows are multiples of {block.numbers}")
    return Tensor(path, dtype, logical, begin + info.offset, stored_bytes(dtype, shape))


def _logical(info: _Info, shape: tuple[int, ...], values: Mapping[str, object]) -> tuple[int, ...]:
    original = values.get(ORIGINAL_SHAPE + info.name)
    if original is None:
        return shape
    if not isinstance(original, list) or min(original, default=0) < 0 or prod(original) != prod(shape):
        got = str(original)[:100]
        raise Broken(f"holds {info.name[:100]!r} of {prod(shape):,} numbers, its original shape says {got}")
    return tuple(original)


def _require_places(path: Path, part: str, tensors: Mapping[str, Tensor], size: int) -> None:
    """Raise unless each tensor lies in the file, and apart from the others."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].length)):
        if tensor.offset < end:
            raise Broken(f"must be a GGUF file, its tensors overlap at {name[:100]!r}")
        end = tensor.offset + tensor.length
        if end > MAX_NUMBER:
            raise Broken(f"holds {name[:100]!r} at {tensor.offset:,}, beyond any file")
    if end > size:
        how = f"is cut short: it has {size:,} of {end:,} bytes; fetch it again"
        raise FolderError(f"{path.name} of {part} {how}", path, missing=True)
