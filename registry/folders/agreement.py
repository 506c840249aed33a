"""Checks that the parts of a folder fit each other, by their shapes."""

from typing import Any

from registry.errors import FolderError
from registry.folders.model import IMAGE_TO_VIDEO, ModelFolder, Part, clip

MASKS = 4  # channels that mark the input frames, next to an input image's latents


def require_agreement(folder: ModelFolder) -> None:
    """Raise `FolderError` if a transformer's width differs from its neighbours'."""
    # diffusers would fail at the first step of such a model, or later
    for name in ("transformer", "transformer_2"):
        if (part := folder.parts.get(name)) is not None:
            _require_channels(part, folder)
            _require(part, "text_dim", folder.parts["text_encoder"], "d_model")
    _require_clip(folder)


def _require_channels(part: Part, folder: ModelFolder) -> None:
    latents, takes = _whole(folder.parts["vae"], "z_dim"), _whole(part, "in_channels")
    if latents is None or takes is None:
        return
    with_image = folder.pipeline == IMAGE_TO_VIDEO and not folder.expand_timesteps
    needed = 2 * latents + MASKS if with_image else latents
    if takes != needed:
        raise part.refusal(f"{part.name} takes {takes} channels, a {folder.pipeline} with this vae gives it {needed}")


def _require_clip(folder: ModelFolder) -> None:
    if folder.parts["transformer"].config.get("image_dim") is None:
        return
    lacking = [name for name in ("image_encoder", "image_processor") if name not in folder.parts]
    if lacking:
        message = f"transformer has image_dim, so {' and '.join(lacking)} must be listed; it is not"
        raise FolderError(message, folder.path)
    encoder = folder.parts["image_encoder"]
    size, patch = clip(encoder, "image_size"), clip(encoder, "patch_size")
    if not 0 < patch <= size:
        raise encoder.refusal(f"image_encoder must have a patch_size from 1 to its image_size {size}, got {patch}")
    for name in ("transformer", "transformer_2"):
        if (part := folder.parts.get(name)) is not None:
            _require_seen(part, clip(encoder, "hidden_size"), folder.image_tokens)


def _require_seen(part: Part, width: int, tokens: int) -> None:
    wanted, known = _whole(part, "image_dim"), _whole(part, "pos_embed_seq_len")
    if wanted is not None and wanted != width:
        raise part.refusal(f"{part.name} reads image_dim {wanted}, image_encoder gives hidden_size {width}")
    if known is not None and known != 2 * tokens:
        got = f"image_encoder makes {2 * tokens} tokens of two images"
        raise part.refusal(f"{part.name} has pos_embed_seq_len {known}, {got}")


def _require(part: Part, width: str, other: Part, own: str) -> None:
    wanted, got = _whole(part, width), _whole(other, own)
    if wanted is not None and got is not None and wanted != got:
        raise part.refusal(f"{part.name} reads {width} {wanted}, {other.name} gives {own} {got}")


def _whole(part: Part, key: str) -> int | None:
    value: Any = part.config.get(key)
    return value if type(value) is int else None
