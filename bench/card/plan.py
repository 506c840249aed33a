"""The sections of the card run and their time limits, the most valuable first."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A section of the run.

    After `seconds` it begins no further check, and `GRACE` later it is stopped. With `by_name` it runs only when it is
    named on the command line.
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
WHOLE = 300.0  # seconds of a whole run; the last sections get the rest
TOY_SECONDS = 600.0  # for each section at toy size, enough on a busy machine
TOY_AT_ONCE = 2  # sections in parallel at toy size: each mostly waits for processes to start
GRACE = 20.0  # seconds between a section's limit and its end in the middle of a check
