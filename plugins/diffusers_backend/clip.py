"""What a transformer of Wan 2.1 reads of CLIP: how many tokens of an image, and how wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from router import LoadFailed


def tokens_of(encoder: Any) -> int:
    """Return the tokens of one image by the image encoder's configuration: one a patch, and one for the whole.

    Raises `ValueError` for sizes that are none.
    """
    size, patch = encoder.image_size, encoder.patch_size
    if not isinstance(size, int) or not isinstance(patch, int) or not 0 < patch <= size:
        raise ValueError(f"patch_size must be between 1 and image_size {size}, got {patch}")
    return (size // patch) ** 2 + 1


def require(folder: Path, transformer: Any, encoder: Any) -> None:
    """Raise `LoadFailed` where the configurations of a transformer and its image encoder contradict each other."""
    if encoder.hidden_size != transformer.image_dim:
        raise LoadFailed(
            f"{folder} has an image_encoder with hidden_size {encoder.hidden_size}, "
            f"its transformer needs image_dim {transformer.image_dim}"
        )
    wanted, got = transformer.pos_embed_seq_len, 2 * tokens_of(encoder)
    if wanted is not None and wanted != got:
        raise LoadFailed(
            f"{folder} has a transformer with pos_embed_seq_len {wanted}, its image_encoder makes {got} tokens of two "
            f"images: {got // 2} each, by image_size {encoder.image_size} and patch_size {encoder.patch_size}"
        )
