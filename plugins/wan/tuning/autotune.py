"""Autotuning: the fastest of several kernels with the same numbers, measured once a process."""

import logging
import statistics
from collections.abc import Callable, Mapping

import torch

from plugins.wan.memory import brief, is_device_lost

log = logging.getLogger(__name__)

Run = Callable[[], torch.Tensor]
Candidates = Mapping[str, Run]  # by name; the first is the reference
CLEARLY_FASTER = 0.97  # of the first one's time: equals may come out either way, and round otherwise
TOLERANCE = 1e-2  # from the first one's numbers, relative in the 2-norm: a few times bf16's rounding
ROUNDS = 5
APART, FUSED = "kernels of PyTorch", "one kernel"  # names of two candidates


class Autotuner:
    """Choices among candidates, kept by workload; `clock` returns the seconds of a run."""

    def __init__(self, clock: Callable[[Run], float]) -> None:
        self._clock = clock
        self._chosen: dict[str, str] = {}

    def fastest(self, workload: str, make: Callable[[], Candidates]) -> str:
        """Return the name of the fastest candidate: the first, unless another is clearly faster.

        Candidates that fail, or give other numbers than the first, are out.
        """
        if workload not in self._chosen:
            self._chosen[workload] = self._measure(workload, make())
        return self._chosen[workload]

    def agrees(self, workload: str, make: Callable[[], Candidates]) -> bool:
        """Say whether the second candidate gives the first one's numbers, whatever its time."""
        if workload not in self._chosen:
            self._chosen[workload] = _agreeing(workload, make())[-1]
            log.info("%s: takes %s", workload, self._chosen[workload])
        return self._chosen[workload] == FUSED

    def _measure(self, workload: str, candidates: Candidates) -> str:
        names = _agreeing(workload, candidates)
        seconds = self._interleaved({name: candidates[name] for name in names})
        first, best = names[0], min(seconds, key=seconds.__getitem__)
        chosen = best if seconds[best] < CLEARLY_FASTER * seconds[first] else first
        times = ", ".join(f"{name} {1000 * each:.3g} ms" for name, each in seconds.items())
        log.info("%s: %s; takes %s", workload, times, chosen)
        return chosen

    def _interleaved(self, candidates: Candidates) -> dict[str, float]:
        # each round runs all of them, so that other work on the GPU hits all alike
        taken: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS):
            for name, run in candidates.items():
                taken[name].append(self._clock(run))
        return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _agreeing(workload: str, candidates: Candidates) -> list[str]:
    (first, run), *others = candidates.items()
    expected, names = run(), [first]
    for name, other in others:
        if (reason := _obstacle(other, expected)) is None:
            names.append(name)
        else:
            log.info("%s: not by %s, %s", workload, name, reason)
    return names


def _obstacle(run: Run, expected: torch.Tensor) -> str | None:
    try:
        off = float((run() - expected).norm() / expected.norm())
    except Exception as error:
        # whatever a kernel stumbles over, the first one remains; but a lost device serves no other
        if is_device_lost(error):
            raise
        return f"trying it gave {brief(error)}"
    return None if off <= TOLERANCE else f"its numbers are {off:.2g} off"


def gpu_seconds(run: Run) -> float:
    """Return the seconds that the current GPU takes for `run`."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000
