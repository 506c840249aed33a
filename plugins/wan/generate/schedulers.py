"""Schedulers of a checkpoint: a new one for each request, because of their state."""

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from plugins.wan.generate import linear_scheduler

CACHED = 32  # shifts, and pairs of a shift and a number of steps


@lru_cache
def _from_first_step(kind: Any) -> Any:
    """Return a subclass of `kind` whose steps begin with the first timestep."""
    # Diffusers looks its first step up by the timestep's number. Many steps at a large shift round two to one number,
    # such as 100 at a shift of 12; it then takes the second, and fails at the last step.

    class Scheduler(kind):
        def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
            super().set_timesteps(*args, **kwargs)
            self.set_begin_index(0)

    return Scheduler


class Schedulers:
    """Make schedulers of one class and configuration; cache the slow parts."""

    def __init__(self, kind: Any, config: Mapping[str, Any]) -> None:
        self._kind = _from_first_step(kind)
        self._config = config
        self._shift = "shift" if issubclass(kind, FlowMatchEulerDiscreteScheduler) else "flow_shift"
        self._made = lru_cache(CACHED)(self._make)
        self.weights = lru_cache(CACHED)(self._weights)

    def new(self, shift: float) -> Any:
        return copy.deepcopy(self._made(shift))

    def _make(self, shift: float) -> Any:
        return self._kind.from_config(self._config, **{self._shift: shift})

    def _weights(self, shift: float, steps: int) -> torch.Tensor | None:
        return linear_scheduler.weights_of(self.new(shift), steps)
