"""Keys and values of cross-attention to text and image, computed once a request."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from diffusers import WanTransformer3DModel

MIN_KEYS = 32  # or a power-of-two multiple: a compiler wants few different sizes


class KeysAndValues(NamedTuple):
    """One block's keys and values, each `(b, keys, heads, head)`."""

    keys: torch.Tensor
    values: torch.Tensor


class Context(NamedTuple):
    """The text of one block, and CLIP's tokens of the image, if any."""

    text: KeysAndValues
    image: KeysAndValues | None = None


class Text(NamedTuple):
    """The context of every block, and the bias of the text keys' scores.

    `bias` is `(b, 1, 1, keys)`.
    """

    blocks: tuple[Context, ...]
    bias: torch.Tensor | None


def text_of(
    model: WanTransformer3DModel, embeds: torch.Tensor, merged: bool, image: Sequence[KeysAndValues] | None
) -> Text:
    """Return the contexts of prompts, and of the image that they share.

    `embeds` is `(b, 512, text_dim)`.
    """
    rows, bias = merge_padding(embeds) if merged else (embeds, None)
    hidden = model.condition_embedder.text_embedder(rows)
    layers = [block.attn2 for block in model.blocks]
    texts = [_read(each.heads, each.to_k, each.norm_k, each.to_v, hidden) for each in layers]
    images = [None] * len(texts) if image is None else [_repeated(each, len(embeds)) for each in image]
    return Text(tuple(map(Context, texts, images)), bias)


def image_of(model: WanTransformer3DModel, embeds: torch.Tensor) -> tuple[KeysAndValues, ...]:
    """Return each block's keys and values of CLIP's `embeds` `(images, 257, image_dim)`."""
    hidden = model.condition_embedder.image_embedder(embeds)
    layers = [block.attn2 for block in model.blocks]
    return tuple(_read(each.heads, each.add_k_proj, each.norm_added_k, each.add_v_proj, hidden) for each in layers)


def merge_padding(embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return fewer rows for prompts `(b, 512, d)`, and a bias for the others.

    The rows after a prompt's own are equal and not masked. A few stand for all of them: the logarithm of the number
    that each stands for is added to its score, which gives the same sum to rounding.
    """
    total = embeds.shape[1]
    own = [_own_rows(prompt) for prompt in embeds]
    size = MIN_KEYS
    while size <= max(own):  # one of padding at least
        size *= 2
    if size >= total:
        return embeds, None
    bias = torch.zeros(len(own), 1, 1, size, dtype=embeds.dtype, device=embeds.device)
    for row, count in enumerate(own):
        bias[row, ..., count:] = math.log((total - count) / (size - count))
    return embeds[:, :size], bias


def _own_rows(prompt: torch.Tensor) -> int:
    """Return the number of rows of `(512, d)` that differ from the padding."""
    differs = (prompt != prompt[-1]).any(dim=1).nonzero()
    return int(differs[-1]) + 1 if len(differs) else 0


def _read(heads: int, to_k: Any, norm_k: Any, to_v: Any, hidden: torch.Tensor) -> KeysAndValues:
    keys = norm_k(to_k(hidden)).unflatten(2, (heads, -1))
    return KeysAndValues(keys, to_v(hidden).unflatten(2, (heads, -1)))


def _repeated(image: KeysAndValues, count: int) -> KeysAndValues:
    # some attention kernels take no stride of 0
    return KeysAndValues(*(each.repeat(count, 1, 1, 1) for each in image)) if count > 1 else image
