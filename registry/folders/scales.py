"""Scales beside the codes of quantised weights, in the layouts of ComfyUI and compressed-tensors.

ComfyUI: `convert_old_quants` of comfy/utils.py, comfy/quant_ops.py. An older file has `X.scale_weight` and a marker
`scaled_fp8`; a newer one `X.weight_scale` and `X.comfy_quant`, or the header's `_quantization_metadata`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

from registry.errors import FolderError
from registry.folders.dtypes import CODES
from registry.folders.files import parse, slices
from registry.folders.safetensors import Header, Tensor

SCALES = ("weight_scale", "scale_weight")
OF_INPUTS = ("input_scale", "scale_input")  # of activations, which we scale ourselves or not at all
MARKER, NOTE, METADATA = "scaled_fp8", "comfy_quant", "_quantization_metadata"
FLOATS = ("F64", "F32", "F16", "BF16")
FORMATS = {  # of notes: the dtype of the codes
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int8_tensorwise": "I8",
    "int8_rowwise": "I8",
}
HARMLESS = ("format", "full_precision_matrix_mult", "per_channel", "orig_dtype", "orig_shape")  # in a note
MOST_NOTE, MOST_MARKER = 4096, 2  # bytes, numbers
METHODS = {  # by the names of tensors that only they have
    **dict.fromkeys(("absmax", "quant_map", "nested_absmax", "nested_quant_map"), "bitsandbytes"),
    **dict.fromkeys(("SCB", "weight_format"), "bitsandbytes"),
    **dict.fromkeys(("qweight", "qzeros", "g_idx", "scales"), "GPTQ or AWQ"),
    **dict.fromkeys(("weight_packed", "weight_zero_point", "weight_g_idx"), "compressed-tensors with packed numbers"),
    **dict.fromkeys(("wscales", "wcscales", "smooth_factor"), "SVDQuant"),
    "weight_scale_2": "nvfp4",
    "pre_quant_scale": "AWQ",
}
READ = "fp8 and int8 with one scale, or one for each row, are read"


def is_aside(name: str) -> bool:
    """Say whether a tensor describes the codes of another."""
    return name.rpartition(".")[2] in (*SCALES, NOTE)


def attached(tensors: Mapping[str, Tensor], part: str, headers: Iterable[Header]) -> dict[str, Tensor]:
    """Return a part's tensors, each with its scale; `headers` are those of its files.

    Raises `FolderError` for other methods, and for codes and scales that do not fit each other.
    """
    aside: dict[str, dict[str, Tensor]] = defaultdict(dict)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        last = name.rpartition(".")[2]
        if method := METHODS.get(last) or ("bitsandbytes" if ".quant_state." in name else None):
            raise _refusal(tensor, part, f"holds {_short(name)}, of weights quantised by {method}; {READ}")
        kind = "scale" if last in SCALES else last
        if kind in ("scale", NOTE, MARKER, *OF_INPUTS):
            aside[kind][name] = tensor
        else:
            found[name] = tensor
    for name, tensor in aside[MARKER].items():
        if prod(tensor.shape) > MOST_MARKER:
            raise _refusal(tensor, part, f"holds {_short(name)} of {prod(tensor.shape):,} numbers, a marker has none")
    _attach(aside["scale"], found, part)
    for weight, note in (*_notes(aside[NOTE], part), *_listed(headers, part)):
        _require_format(weight, note, found, aside[NOTE], part)
    for name, tensor in found.items():
        if tensor.dtype == "U8" or (tensor.dtype == "I8" and tensor.scale is None):
            how = "uint8 (8 or 4 bits)" if tensor.dtype == "U8" else "int8 without a scale"
            raise _refusal(tensor, part, f"holds {_short(name)} in {how}; {READ}")
    return found


def _attach(scales: Mapping[str, Tensor], found: dict[str, Tensor], part: str) -> None:
    for name, scale in scales.items():
        weight = f"{name.rpartition('.')[0]}.weight"
        if (codes := found.get(weight)) is None:
            raise _refusal(scale, part, f"holds {_short(name)}, the scale of a weight that it lacks")
        if codes.dtype not in CODES:
            raise _refusal(scale, part, f"holds {_short(name)}, but its weight is in {codes.dtype}; {READ}")
        if scale.dtype not in FLOATS:
            raise _refusal(scale, part, f"holds {_short(name)} in {scale.dtype}, a scale must be a float; {READ}")
        if codes.scale is not None:
            raise _refusal(scale, part, f"holds two scales of {_short(weight)}")
        rows = codes.shape[0] if codes.shape else 1
        count = prod(scale.shape)
        if count not in (1, rows) or (count > 1 and scale.shape[0] != rows):
            got = "x".join(map(str, scale.shape))
            message = f"holds {_short(name)} of shape {got}, its weight has {rows:,} rows; {READ}"
            raise _refusal(scale, part, message)
        shape = (1,) if count == 1 else (rows,) if len(scale.shape) == 1 else (rows, 1)
        found[weight] = codes._replace(scale=scale._replace(shape=shape))


def _notes(notes: Mapping[str, Tensor], part: str) -> Iterator[tuple[str, object]]:
    """Yield the weight and the content of each note in a tensor."""
    by_file: dict[Path, list[tuple[str, Tensor]]] = defaultdict(list)
    for name, tensor in notes.items():
        if tensor.dtype not in ("U8", "I8") or len(tensor.shape) != 1 or tensor.length > MOST_NOTE:
            needed = f"a note has at most {MOST_NOTE:,} bytes"
            raise _refusal(tensor, part, f"holds {_short(name)} of {tensor.length:,} bytes, {needed}")
        by_file[tensor.file].append((name, tensor))
    for file, listed in by_file.items():
        texts = slices(file, f"{file.name} of {part}", [(tensor.offset, tensor.length) for _, tensor in listed])
        for (name, tensor), text in zip(listed, texts, strict=True):
            try:
                yield f"{name.rpartition('.')[0]}.weight", parse(text)
            except (ValueError, RecursionError) as error:
                raise _refusal(tensor, part, f"holds {_short(name)}, which must be JSON, it is not") from error


def _listed(headers: Iterable[Header], part: str) -> Iterator[tuple[str, object]]:
    """Yield the weight and the content of each note in the headers."""
    for header in headers:
        try:
            layers = parse(str(header.metadata[METADATA]))["layers"] if METADATA in header.metadata else {}
            listed = list(layers.items())
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            message = f"{header.file.name} of {part} has {METADATA}, which must be a JSON object of layers, it is not"
            raise FolderError(message, header.file) from error
        yield from ((f"{layer}.weight", note) for layer, note in listed)


def _require_format(
    weight: str, note: object, found: Mapping[str, Tensor], notes: Mapping[str, Tensor], part: str
) -> None:
    tensor = found.get(weight)
    if tensor is None:
        name = f"{weight.removesuffix('weight')}{NOTE}"
        if name not in notes:  # listed for a part of a whole checkpoint that is not ours
            return
        raise _refusal(notes[name], part, f"holds {_short(name)}, the note on a weight that it lacks")
    kind = note.get("format") if isinstance(note, dict) else None
    others = [key for key, value in note.items() if value and key not in HARMLESS] if isinstance(note, dict) else []
    if not isinstance(kind, str) or kind not in FORMATS or others:
        how = " with ".join([str(kind)[:40], *(str(key)[:40] for key in others[:1])])
        raise _refusal(tensor, part, f"holds {_short(weight)} quantised as {how}; {READ}")
    if tensor.dtype != FORMATS[kind]:
        raise _refusal(tensor, part, f"holds {_short(weight)} in {tensor.dtype}, its note says {kind}")
    if tensor.scale is None:
        raise _refusal(tensor, part, f"holds {_short(weight)} as {kind} without a scale; {READ}")


def _refusal(tensor: Tensor, part: str, message: str) -> FolderError:
    return FolderError(f"{tensor.file.name} of {part} {message}", tensor.file)


def _short(name: str) -> str:
    return repr(name[:100])
