"""The sections of the card run, in the order of their worth, with the seconds that each may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One part of the run; after `seconds` it begins no further check, and a while later it is stopped.

    One that is `by_name` alone runs only when it is asked for.
    """

    title: str
    seconds: float
    by_name: bool = False


SECTIONS: Mapping[str, Section] = {
    "device": Section("the card: versions, the rate of its matrix products, copies", 15),
    "truth": Section("Wan Nano through a real server on the card, and every kernel against PyTorch's numbers", 90),
    "sizes": Section("forward passes and VAEs at true sizes with random weights, by diffusers and by ours", 110),
    "job": Section("whole jobs of Wan 2.2's true sizes over HTTP, random weights, and all of it resident", 90),
    "defaults": Section("what each default is worth", 30),
    "operations": Section("attention, products and what runs between them at true shapes", 120, by_name=True),
}
WHOLE = 300.0  # seconds that a run of all may take; the last sections get what is left
TOY_SECONDS = 600.0  # for each section at toy size, which a busy machine may need
TOY_AT_ONCE = 2  # sections: each waits much for processes that start
GRACE = 20.0  # seconds after a section's limit until it is stopped in the middle of a check
