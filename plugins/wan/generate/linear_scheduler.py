"""The scheduler's steps on small latents, as sums of the noise and all velocities.

UniPC's update is linear in both, so stepping unit vectors through the scheduler gives its weights. A step of the
scheduler itself takes thirty small operations, a millisecond on a CPU, and as many again in every video.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler

MAX_BYTES = 2**24  # of noise and velocities, which are kept until the end

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # of velocity, timestep, latents


def weights_of(scheduler: Any, steps: int) -> torch.Tensor | None:
    """Return the weights `(n, 1 + n)` of noise and velocities in each step's latents.

    The scheduler makes `n` steps of `steps`. None for schedulers that add noise, clip, or are unknown.
    """
    if not isinstance(scheduler, UniPCMultistepScheduler) or scheduler.config.thresholding:
        return None
    scheduler.set_timesteps(steps)
    units = torch.eye(1 + len(scheduler.timesteps), dtype=torch.float64).unsqueeze(1)
    rows = [units[0]]
    for timestep, unit in zip(scheduler.timesteps, units[1:], strict=True):
        rows.append(scheduler.step(unit, timestep, rows[-1], return_dict=False)[0])
    return torch.cat(rows[1:]).float()


def step_function(scheduler: Any, weights: torch.Tensor | None, noise: torch.Tensor) -> Step:
    """Return the step function: sums by `weights` for small latents, else the scheduler's."""
    if weights is None or weights.shape[1] * noise.nbytes > MAX_BYTES:
        return lambda velocity, timestep, latents: scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    return _Sums(weights, noise)


class _Sums:
    def __init__(self, weights: torch.Tensor, noise: torch.Tensor) -> None:
        self._rows = iter(weights)
        self._terms = noise.new_empty(weights.shape[1], noise.numel())
        self._terms[0] = noise.flatten()
        self._count = 1

    def __call__(self, velocity: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        self._terms[self._count] = velocity.flatten()
        self._count += 1
        return (next(self._rows)[: self._count] @ self._terms[: self._count]).view_as(latents)
