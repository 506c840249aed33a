"""Device bytes of a model's weights, planned from file headers without heavy libraries."""

from math import prod
from pathlib import Path

from plugins.wan import checkpoint as checkpoints
from plugins.wan.checkpoint import DECODER, Checkpoint, Part
from plugins.wan.weights.device_format import AUTO, code_bytes, format_of
from registry.folders import FolderError, Tensor
from registry.folders.dtypes import is_quantised
from router import LoadFailed, ModelSpec

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
ROTATIONS = {"rope_max_seq_len": 1024, "attention_head_dim": 128}  # with the defaults of diffusers
TIED = "encoder.embed_tokens.weight"  # umT5's embedding, which some files have twice
SAMPLES, SAMPLE_BYTES = 16, 4096


def plan(model: ModelSpec, device: str, dtype: str) -> int | None:
    """Return the least device bytes of the weights of `model`, None if unknown.

    `dtype` is the option for the transformers and the text encoder.
    """
    if model.folder is None or model.options.get("group_offload"):
        return None
    try:
        decoder = _item(str(model.options.get("decoder_dtype")), device)
        return _bytes(checkpoints.read(model.folder, model.parts), model, _item(dtype, device), decoder)
    except (LoadFailed, FolderError, OSError):
        return None  # loading will report the error


def _bytes(checkpoint: Checkpoint, model: ModelSpec, item: int, decoder_item: int) -> int:
    total = 0
    items = {"vae": BYTES["fp32"], "image_encoder": BYTES["fp32"], DECODER: decoder_item}
    for part in checkpoint.pooled(model.modality):
        if part.weights is None:
            continue
        if part.name == "transformer_2" and not model.merged and _same_as_first(checkpoint):
            continue
        tensors = {name: tensor for name, tensor in part.weights.read().items() if part.has(name)}
        if part.name == "text_encoder" and "shared.weight" in tensors:
            tensors.pop(TIED, None)
        weights = str(model.options.get("weights", AUTO))
        merging = bool(model.merged) and part.is_transformer
        total += sum(_size(part.name, *each, items.get(part.name, item), weights, merging) for each in tensors.items())
        total += buffer_bytes(part)
    return total


def buffer_bytes(part: Part) -> int:
    """Return the bytes of computed tables: a transformer's rotations, in fp32."""
    if not part.is_transformer:
        return 0
    positions, head = (part.config.get(key, default) for key, default in ROTATIONS.items())
    return 2 * int(positions) * int(head) * BYTES["fp32"]  # a cosine and a sine


def _size(part: str, name: str, tensor: Tensor, item: int, weights: str, merging: bool) -> int:
    """Return the device bytes of a tensor with plain floats of `item` bytes."""
    if (form := format_of(part, name, tensor.dtype, tensor.shape, weights, merging=merging)) is not None:
        return code_bytes(form, tensor.shape)
    is_float = "F" in tensor.dtype or is_quantised(tensor.dtype)
    return prod(tensor.shape) * item if is_float else tensor.length


def _item(dtype: str, device: str) -> int:
    return BYTES.get(dtype, BYTES["fp32" if device == "cpu" else "bf16"])


def _same_as_first(checkpoint: Checkpoint) -> bool:
    """Say whether both transformers may be one part, by samples of their files."""
    # a digest would take minutes
    first, second = (checkpoint.parts[name].weights for name in ("transformer", "transformer_2"))
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
