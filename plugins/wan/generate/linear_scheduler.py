"""The scheduler's steps on small latents: sums of the noise and the velocities so far.

UniPC's update is linear in both, so its weights can be asked of the scheduler itself, once: it steps unit vectors. A
step takes it thirty small operations, a millisecond on a CPU, and as many again for nothing in every video.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler

MOST_BYTES = 2**24  # of noise and velocities, which are kept until the end

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # velocity, timestep, latents: the next ones


def weights_of(scheduler: Any, steps: int) -> torch.Tensor | None:
    """Return `(n, 1 + n)` for the `n` steps that it makes of `steps`: of the noise and each velocity in the latents.

    A row is that of the latents after a step. None for schedulers that add noise, clip, or are not known to do neither.
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
    """Return what steps from `noise`: sums by `weights` where there are any and the latents are small."""
    if weights is None or weights.shape[1] * noise.nbytes > MOST_BYTES:
        return lambda velocity, timestep, latents: scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    return _Sums(weights, noise)


class _Sums:
    """The steps of one request."""

    def __init__(self, weights: torch.Tensor, noise: torch.Tensor) -> None:
        self._rows = iter(weights)
        self._terms = noise.new_empty(weights.shape[1], noise.numel())
        self._terms[0] = noise.flatten()
        self._count = 1

    def __call__(self, velocity: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        self._terms[self._count] = velocity.flatten()
        self._count += 1
        return (next(self._rows)[: self._count] @ self._terms[: self._count]).view_as(latents)
