"""Device bytes of a model's weights, planned from file headers without heavy libraries."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from registry import Input, folders
from registry.folders import FolderError, ModelFolder, Tensor
from registry.folders.safetensors import ITEM_BYTES
from router import ModelSpec

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
TIED = "encoder.embed_tokens.weight"  # umT5's embedding, which some files have twice
ENCODING, DECODING = ("encoder.", "quant_conv."), ("decoder.", "post_quant_conv.")  # tensors of a VAE's halves
SAMPLES, SAMPLE_BYTES = 16, 4096


def plan(model: ModelSpec, device: str, dtype: str) -> int | None:
    """Return the least bytes of `device` that the weights of `model` take; None if unknown.

    `dtype` is the option for the transformers and the text encoder.
    """
    if model.folder is None or model.options.get("group_offload"):
        return None
    try:
        folder = folders.read(model.folder)
        return _bytes(folder, model, _item(dtype, device), _item(str(model.options.get("decoder_dtype")), device))
    except (FolderError, OSError):
        return None  # loading will report the error


def _bytes(folder: ModelFolder, model: ModelSpec, item: int, decoder_item: int) -> int:
    total = 0
    for name, part in folder.parts.items():
        if part.weights is None or (name == "transformer_2" and _same_as_first(folder)):
            continue
        tensors = part.weights.read()
        if name == "text_encoder" and "shared.weight" in tensors:
            tensors.pop(TIED, None)
        if name == "vae":
            if Input.IMAGE in model.modality.allows:
                total += _sum((t for key, t in tensors.items() if not key.startswith(DECODING)), BYTES["fp32"])
            total += _sum((t for key, t in tensors.items() if not key.startswith(ENCODING)), decoder_item)
        else:
            total += _sum(tensors.values(), BYTES["fp32"] if name == "image_encoder" else item)
    return total


def _sum(tensors: Iterable[Tensor], item: int) -> int:
    """Return the bytes of tensors with floats of `item` bytes; other numbers keep theirs."""
    return sum(
        tensor.length // ITEM_BYTES[tensor.dtype] * item if "F" in tensor.dtype else tensor.length for tensor in tensors
    )


def _item(dtype: str, device: str) -> int:
    return BYTES.get(dtype, BYTES["fp32" if device == "cpu" else "bf16"])


def _same_as_first(folder: ModelFolder) -> bool:
    """Say whether both transformers may be one part, by samples of their files."""
    # a digest would take minutes
    first, second = (folder.parts[name].weights for name in ("transformer", "transformer_2"))
    if first is None or second is None or len(first.files) != len(second.files):
        return False
    return all(_same_samples(*pair) for pair in zip(first.files, second.files, strict=True))


def _same_samples(one: Path, other: Path) -> bool:
    size = one.stat().st_size
    if size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        for number in range(SAMPLES + 1):
            for file in (first, second):
                file.seek(max(0, size - SAMPLE_BYTES) * number // SAMPLES)
            if first.read(SAMPLE_BYTES) != second.read(SAMPLE_BYTES):
                return False
    return True
