"""The denoising of a model by UniPC, on batches and with gradients."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from nano import parts
from nano.model import Sampling
from nano.training.diffusion import mask_of_first, token_timesteps
from nano.training.loop import autocast


@dataclass(frozen=True)
class Prompt:
    """The embedded texts of a batch, empty texts for guidance, and images."""

    text: torch.Tensor
    empty: torch.Tensor
    image: torch.Tensor | None = None  # latents, of all frames or the first


@dataclass(frozen=True)
class Experts:
    """The transformers of a model; the boundary divides the noise levels between two."""

    transformers: Mapping[str, WanTransformer3DModel]  # by the names of their folders
    boundary: float | None = None
    image: str | None = None  # "channels" or "frame", as in `diffusion.Task`

    def sample(self, noise: torch.Tensor, prompt: Prompt, settings: Sampling) -> torch.Tensor:
        """Return the final latents of the noise."""
        timesteps, weights = _schedule(settings.steps, settings.flow_shift)
        terms, latents = [noise], noise
        for timestep, row in zip(timesteps, weights, strict=True):
            terms.append(self._guided(latents, timestep, prompt, settings.guidance_scale))
            sums = [weight * term for weight, term in zip(row, terms, strict=False)]
            latents = self._with_image(torch.stack(sums).sum(dim=0), prompt)
        return latents

    def _guided(self, latents: torch.Tensor, timestep: int, prompt: Prompt, scale: float) -> torch.Tensor:
        towards = self._velocity(latents, timestep, prompt.text, prompt)
        if scale == 1.0:
            return towards
        plain = self._velocity(latents, timestep, prompt.empty, prompt)
        return plain + scale * (towards - plain)

    def _velocity(self, latents: torch.Tensor, timestep: int, text: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        low = self.boundary is not None and timestep < self.boundary * 1000.0
        model = self.transformers["transformer_2" if low else "transformer"]
        times = torch.full((len(latents),), float(timestep), device=latents.device)
        if prompt.image is not None and self.image == "channels":
            latents = torch.cat([latents, mask_of_first(latents), prompt.image.to(latents)], dim=1)
        elif prompt.image is not None:
            latents = self._with_image(latents, prompt)
            times = token_timesteps(times, latents)
        with autocast(latents.device):
            velocity: torch.Tensor = model(latents, times, text, return_dict=False)[0]
        return velocity.float()

    def _with_image(self, latents: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        if prompt.image is None or self.image != "frame":
            return latents
        return torch.cat([prompt.image[:, :, :1].to(latents), latents[:, :, 1:]], dim=2)


@cache
def _schedule(steps: int, flow_shift: float) -> tuple[list[int], list[list[float]]]:
    """Return timesteps, and weights of noise and velocities in the latents after each."""
    scheduler = UniPCMultistepScheduler.from_config(parts.scheduler().config, flow_shift=flow_shift)
    scheduler.set_timesteps(steps)
    # the update is linear, so unit vectors give its weights
    units = torch.eye(1 + steps, dtype=torch.float64).unsqueeze(1)
    rows = [units[0]]
    for timestep, unit in zip(scheduler.timesteps, units[1:], strict=True):
        rows.append(scheduler.step(unit, timestep, rows[-1], return_dict=False)[0])
    return [int(timestep) for timestep in scheduler.timesteps], torch.cat(rows[1:]).tolist()
