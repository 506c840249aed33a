"""Timesteps as the blocks of Wan's DiT read them, embedded once a request for all steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel


class TimestepEmbedding(NamedTuple):
    """Embedded timesteps: `summary` `(groups, d)`, and `time` `(groups, 6, d)` for each block.

    Each row stands for one of equally long runs of tokens, in order; a single row stands for all tokens.
    """

    summary: torch.Tensor
    time: torch.Tensor

    def of(self, groups: torch.Tensor) -> TimestepEmbedding:
        """Return the rows with these indices, in this order."""
        return TimestepEmbedding(self.summary[groups], self.time[groups])


@torch.no_grad()
def embed_timesteps(model: WanTransformer3DModel, timesteps: torch.Tensor) -> TimestepEmbedding:
    """Return the embedding of `timesteps` `(groups,)` by `model`."""
    embedder = model.condition_embedder
    waves = embedder.timesteps_proj(timesteps).to(embedder.time_embedder.linear_1.weight.dtype)
    summary = embedder.time_embedder(waves).to(model.patch_embedding.weight.dtype)
    return TimestepEmbedding(summary, embedder.time_proj(embedder.act_fn(summary)).unflatten(1, (6, -1)))
