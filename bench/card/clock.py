"""Timing on a card: alternating runs, with matrix products as the reference."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Run = Callable[[], object]
Runs = Mapping[str, Run]


@dataclass(frozen=True)
class Rounds:
    """Median seconds and peak bytes of each run, and FLOP/s of bf16 products meanwhile."""

    seconds: Mapping[str, float]
    peaks: Mapping[str, float]
    rate: float


@dataclass(frozen=True)
class Clock:
    """A timer of runs on `device`.

    side: the size of the square matrices of the reference product
    calibration: seconds of reference products; the first 40 % warm up
    rounds: each round times all runs once
    least: the least total seconds of a single operation's runs
    """

    device: str
    side: int = 8192
    calibration: float = 0.5
    rounds: int = 3
    least: float = 0.5

    def seconds(self, run: Run) -> float:
        if self.device == "cpu":
            begun = time.perf_counter()
            run()
            return time.perf_counter() - begun
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    def often(self, run: Run) -> float:
        """Return the median seconds of repeated runs, `least` seconds in all."""
        for _ in range(3):  # warm up
            run()
        taken: list[float] = []
        while sum(taken) < self.least or len(taken) < 3:
            taken.append(self.seconds(run))
        return statistics.median(taken)

    def rate(self) -> float:
        """Return the FLOP/s of a product of random bf16 matrices."""
        # zeros would take less power and flatter the card
        left, right = (torch.randn(self.side, self.side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        taken: list[float] = []
        while sum(taken) < self.calibration or len(taken) < 5:
            taken.append(self.seconds(lambda: left @ right))
        return 2 * self.side**3 / statistics.median(taken[int(0.4 * len(taken)) :])

    def compared(self, runs: Runs) -> Rounds:
        """Time all of `runs` in rounds between reference products; the caller warms up."""
        taken: dict[str, list[float]] = {name: [] for name in runs}
        peaks: dict[str, float] = {}
        rates = [self.rate()]
        for _ in range(self.rounds):
            for name, run in runs.items():
                held = self._begin_peak()
                taken[name].append(self.seconds(run))
                peaks[name] = self._peak() - held
            rates.append(self.rate())
        middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
        return Rounds(middle, peaks, statistics.mean(rates))

    def _begin_peak(self) -> float:
        if self.device == "cpu":
            return 0.0
        torch.cuda.reset_peak_memory_stats(self.device)
        return float(torch.cuda.memory_allocated(self.device))

    def _peak(self) -> float:
        return 0.0 if self.device == "cpu" else float(torch.cuda.max_memory_allocated(self.device))


TOY = Clock("cpu", side=64, calibration=0.01, rounds=1, least=0.01)  # to check the code
