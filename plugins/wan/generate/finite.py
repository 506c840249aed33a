"""Checks for numbers that are not finite in each part's output."""

from collections.abc import Callable

import torch

# of a part's output, which is below 1000 in every published checkpoint. Larger numbers overflow where a norm squares
# them, which makes zeros, and a video, of them
LARGEST = 1e6


def peak(numbers: torch.Tensor) -> torch.Tensor:
    """Return the largest magnitude of `numbers` as an fp32 scalar on their device."""
    # NaN if one of them is NaN
    low, high = torch.aminmax(numbers.detach())  # one pass over memory; isfinite takes five
    return torch.maximum(-low, high).float()


def is_bad(magnitude: float) -> bool:
    return not magnitude <= LARGEST  # NaN, too


class Outputs:
    """The largest magnitude of each part's output, in order."""

    # on the device until `fault` reads them: no step waits

    def __init__(self) -> None:
        self._seen: list[tuple[Callable[[], str], torch.Tensor]] = []

    def add(self, part: Callable[[], str], numbers: torch.Tensor) -> None:
        """Add the output of a part; `part` returns the name for an error."""
        self._seen.append((part, peak(numbers)))

    def fault(self) -> str | None:
        """Return the first part with bad numbers, or None; waits for the device once."""
        magnitudes = torch.stack([magnitude for _, magnitude in self._seen]).tolist()
        for (part, _), magnitude in zip(self._seen, magnitudes, strict=True):
            if is_bad(magnitude):
                return part()
        return None
