"""What the blocks' cross-attention reads of a text: keys and values, made once a request."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel

FEWEST_KEYS = 32  # and its doubles: a compiler wants few different numbers


class KeysAndValues(NamedTuple):
    """Of one block, each `(b, keys, heads, head)`."""

    keys: torch.Tensor
    values: torch.Tensor


class Text(NamedTuple):
    """What every block reads, and what is added to the scores of each key, `(b, 1, 1, keys)`."""

    blocks: tuple[KeysAndValues, ...]
    bias: torch.Tensor | None


def text_of(model: WanTransformer3DModel, embeds: torch.Tensor, merged: bool) -> Text:
    """Return what `model` reads of prompts `(b, 512, text_dim)`."""
    rows, bias = merge_padding(embeds) if merged else (embeds, None)
    hidden = model.condition_embedder.text_embedder(rows)
    return Text(tuple(_read(block.attn2, hidden) for block in model.blocks), bias)


def merge_padding(embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return fewer rows for prompts `(b, 512, d)`, and the bias that makes up for those left out.

    The rows after a prompt's own are all alike and none is masked. A few stand for all of them, each with the
    logarithm of how many it stands for added to its score: the same sum to rounding.
    """
    total = embeds.shape[1]
    own = [_own_rows(prompt) for prompt in embeds]
    size = FEWEST_KEYS
    while size <= max(own):  # one of padding at least
        size *= 2
    if size >= total:
        return embeds, None
    bias = torch.zeros(len(own), 1, 1, size, dtype=embeds.dtype, device=embeds.device)
    for row, count in enumerate(own):
        bias[row, ..., count:] = math.log((total - count) / (size - count))
    return embeds[:, :size], bias


def _own_rows(prompt: torch.Tensor) -> int:
    """Return how many rows of `(512, d)` come before those that are like the last one."""
    differs = (prompt != prompt[-1]).any(dim=1).nonzero()
    return int(differs[-1]) + 1 if len(differs) else 0


def _read(attention: torch.nn.Module, hidden: torch.Tensor) -> KeysAndValues:
    heads = (attention.heads, -1)
    keys = attention.norm_k(attention.to_k(hidden)).unflatten(2, heads)
    return KeysAndValues(keys, attention.to_v(hidden).unflatten(2, heads))
