"""The forward passes that a backend may bring for Wan's transformers, beside diffusers' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image

from router import PartPath, Task

OnStep = Callable[[int, torch.Tensor], None]  # called after each step with its number, from 1, and the latents


class ForwardPaths(Protocol):
    """A backend's own denoising loop, and the code path of each transformer."""

    @property
    def now(self) -> Mapping[str, PartPath]:
        """Return the path of each transformer, by part name."""

    def are_ours(self) -> bool:
        """Say whether the backend's own forward pass may run every transformer now."""

    def denoise(
        self,
        pipe: Any,
        task: Task,
        images: Sequence[Image.Image | None],
        embeds: Sequence[torch.Tensor],
        on_step: OnStep,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the latents of `task` `(1, c, t, h, w)` as `pipe` would with `output_type="latent"`.

        `images` are the first and the last frame, `embeds` the prompt and, with guidance, the negative prompt
        `(1, 512, text_dim)`. `weights` are those of a linear scheduler, None to step the scheduler itself.
        """

    def clear(self) -> None:
        """Release the transformers."""
