"""Contradictions between the numbers of one entry: defaults, limits and warm-up sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from registry.models import Defaults, Limits, Size


def contradictions(
    defaults: Defaults, limits: Limits, sizes: Collection[Size], multiple: int, stated: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield each wrong field with its rule; `stated` are the defaults of the entry itself."""
    for side, pixels in (("width", defaults.width), ("height", defaults.height)):
        if pixels % multiple:
            yield f"defaults.{side}", f"must be a multiple of {multiple}, got {pixels}"
    if defaults.num_frames % 4 != 1:
        yield "defaults.num_frames", f"must be 4k+1 (1, 5, 9, ...), got {defaults.num_frames}"
    for fields, value, limit in _limited(defaults):
        most = getattr(limits, limit)
        if value > most:
            own = [f"defaults.{field}" for field in fields if field in stated]
            message = f"the default {' x '.join(fields)} must be within the limit ({limit}) of {most}, got {value}"
            yield own[0] if own else f"limits.{limit}", message
    for size in sizes:
        if (rule := _size_rule(size, limits, multiple)) is not None:
            yield "warm_up", f"{rule}, got {size}"


def _size_rule(size: Size, limits: Limits, multiple: int) -> str | None:
    """Return the rule that a warm-up size breaks, or None."""
    if not size.width or not size.height or size.width % multiple or size.height % multiple:
        return f"must have sides that are multiples of {multiple}"
    if size.num_frames % 4 != 1:
        return "must have 4k+1 frames (1, 5, 9, ...)"
    if size.width * size.height > limits.pixels or size.num_frames > limits.frames:
        return f"must be within the limits of {limits.pixels} pixels and {limits.frames} frames"
    return None


def _limited(defaults: Defaults) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Yield the default fields of each limit, their value, and the limit's name."""
    yield ("width", "height"), defaults.width * defaults.height, "pixels"
    yield ("num_frames",), defaults.num_frames, "frames"
    yield ("steps",), defaults.steps, "steps"
    yield ("negative_prompt",), len(defaults.negative_prompt), "prompt"
