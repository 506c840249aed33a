"""A checkpoint's scheduler: one of its own for each request, as it has state, with the shift that was asked for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from plugins.wan.generate import linear_scheduler

KEPT = 32  # of the shifts, and of the shifts with numbers of steps, that were asked for


@lru_cache
def _from_the_first(kind: type[Any]) -> type[Any]:
    """Return a `kind` whose steps begin with the first timestep.

    Diffusers looks its first step up by the timestep's number. Many steps at a large shift round two to one number,
    such as 100 at a shift of 12; it then takes the second, and fails at the last step.
    """

    class Scheduler(kind):  # type: ignore[misc]
        def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
            super().set_timesteps(*args, **kwargs)
            self.set_begin_index(0)

    return Scheduler


class Schedulers:
    """Makes schedulers of one class and configuration; what takes long is kept, as most requests ask for the same."""

    def __init__(self, kind: type[Any], config: Mapping[str, Any]) -> None:
        self._kind = _from_the_first(kind)
        self._config = config
        self._shift = "shift" if issubclass(kind, FlowMatchEulerDiscreteScheduler) else "flow_shift"
        self._made = lru_cache(KEPT)(self._make)
        self.weights = lru_cache(KEPT)(self._weights)

    def new(self, shift: float) -> Any:
        """Return one that nobody else steps."""
        return copy.deepcopy(self._made(shift))

    def _make(self, shift: float) -> Any:
        return self._kind.from_config(self._config, **{self._shift: shift})

    def _weights(self, shift: float, steps: int) -> torch.Tensor | None:
        """Return the weights of the sums that so many steps are, None where they are none."""
        return linear_scheduler.weights_of(self.new(shift), steps)
