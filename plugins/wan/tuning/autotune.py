"""Which of several ways to the same numbers is the fastest on this card, measured once and kept in memory."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping

import torch

from plugins.wan.memory import is_device_lost

log = logging.getLogger(__name__)

Run = Callable[[], torch.Tensor]
CLEARLY = 0.97  # of the first one's time: what is as fast as it may come out either way, and rounds otherwise
MOST_OFF = 1e-2  # from the first one's numbers, relative in the 2-norm: a few times bf16's rounding
ROUNDS = 5
APART, FUSED = "kernels of PyTorch", "one kernel"  # two ways to the same numbers


class Autotuner:
    """The choices so far, by what they are for; `clock` returns the seconds of a run."""

    def __init__(self, clock: Callable[[Run], float]) -> None:
        self._clock = clock
        self._chosen: dict[str, str] = {}

    def fastest(self, case: str, make: Callable[[], Mapping[str, Run]]) -> str:
        """Return the name of the fastest of the ways that `make` returns: the first, unless another is clearly faster.

        One that fails, or gives other numbers than the first, is out. All run in turns, so that what else the card
        does hits all alike.
        """
        if case not in self._chosen:
            self._chosen[case] = self._measure(case, make())
        return self._chosen[case]

    def agrees(self, case: str, make: Callable[[], Mapping[str, Run]]) -> bool:
        """Say whether the second way that `make` returns gives what the first one gives; no clock has a say in that."""
        if case not in self._chosen:
            self._chosen[case] = _able(case, make())[-1]
            log.info("%s: takes %s", case, self._chosen[case])
        return self._chosen[case] == FUSED

    def _measure(self, case: str, ways: Mapping[str, Run]) -> str:
        able = _able(case, ways)
        taken = self._in_turns({name: ways[name] for name in able})
        first, best = able[0], min(taken, key=taken.__getitem__)
        chosen = best if taken[best] < CLEARLY * taken[first] else first
        said = ", ".join(f"{name} {1000 * seconds:.3g} ms" for name, seconds in taken.items())
        log.info("%s: %s; takes %s", case, said, chosen)
        return chosen

    def _in_turns(self, ways: Mapping[str, Run]) -> dict[str, float]:
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, run in ways.items():
                taken[name].append(self._clock(run))
        return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _able(case: str, ways: Mapping[str, Run]) -> list[str]:
    """Return those that give what the first one gives; what that one raises is raised."""
    (first, run), *others = ways.items()
    expected, found = run(), [first]
    for name, other in others:
        if (reason := _obstacle(other, expected)) is None:
            found.append(name)
        else:
            log.info("%s: not by %s, %s", case, name, reason)
    return found


def _obstacle(run: Run, expected: torch.Tensor) -> str | None:
    """Return what stands against `run`, in words; None where nothing does."""
    try:
        off = float((run() - expected).norm() / expected.norm())
    except Exception as error:
        # whatever a kernel stumbles over, there is the first way; but a device that is lost serves no other
        if is_device_lost(error):
            raise
        return f"trying it gave {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
    return None if off <= MOST_OFF else f"its numbers are {off:.2g} off"


def gpu_seconds(run: Run) -> float:
    """Return how long the current card takes for `run`."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000
