"""What timesteps say to the blocks of Wan's DiT: made once a request for all of its steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel


class TimestepEmbedding(NamedTuple):
    """Timesteps as the transformer reads them: `summary` `(groups, d)`, and `time` `(groups, 6, d)` for each block.

    Each is that of one of as many equal runs of tokens, in their order; one is that of all tokens.
    """

    summary: torch.Tensor
    time: torch.Tensor

    def of(self, groups: torch.Tensor) -> TimestepEmbedding:
        """Return those with these indices, in this order."""
        return TimestepEmbedding(self.summary[groups], self.time[groups])


@torch.no_grad()
def embed_timesteps(model: WanTransformer3DModel, timesteps: torch.Tensor) -> TimestepEmbedding:
    """Return what `model` makes of `timesteps` `(groups,)`."""
    embedder = model.condition_embedder
    waves = embedder.timesteps_proj(timesteps).to(embedder.time_embedder.linear_1.weight.dtype)
    summary = embedder.time_embedder(waves).to(model.patch_embedding.weight.dtype)
    return TimestepEmbedding(summary, embedder.time_proj(embedder.act_fn(summary)).unflatten(1, (6, -1)))
