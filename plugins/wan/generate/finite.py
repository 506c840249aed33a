"""Numbers that are not finite: found in what each part hands on, without a wait for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch

# of what parts hand on: beyond 1000 in no published checkpoint. Larger numbers overflow where a norm squares them,
# which makes zeros, and a video, of them
LARGEST = 1e6


def peak(numbers: torch.Tensor) -> torch.Tensor:
    """Return the largest magnitude among `numbers` as an fp32 scalar on their device; NaN if one is NaN."""
    low, high = torch.aminmax(numbers.detach())  # one pass over memory; isfinite takes five
    return torch.maximum(-low, high).float()


def is_bad(magnitude: float) -> bool:
    return not magnitude <= LARGEST  # NaN, too


class Outputs:
    """The magnitudes of what the parts of a model handed on, in their order; they stay on the device until read."""

    def __init__(self) -> None:
        self._seen: list[tuple[Callable[[], str], torch.Tensor]] = []

    def see(self, part: Callable[[], str], numbers: torch.Tensor) -> None:
        """Note what a part hands on; `part` gives its name, and is only called for one at fault."""
        self._seen.append((part, peak(numbers)))

    def fault(self) -> str | None:
        """Return the name of the first part whose numbers are bad, None without one; waits for the device, once."""
        magnitudes = torch.stack([magnitude for _, magnitude in self._seen]).tolist()
        for (part, _), magnitude in zip(self._seen, magnitudes, strict=True):
            if is_bad(magnitude):
                return part()
        return None
