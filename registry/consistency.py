"""Contradictions within an entry, and between its family and its folder."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from registry.adapters import Adapter
from registry.families import Family
from registry.lines import Where
from registry.modality import Modality
from registry.models import Defaults, Limits, Size


def contradictions(
    defaults: Defaults, limits: Limits, sizes: Collection[Size], multiple: int, stated: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield each wrong field with its rule; `stated` are the entry's own defaults."""
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


def adapter_contradictions(
    adapters: Collection[Adapter], chosen: Collection[str], defaults: Defaults, limits: Limits, multiple: int
) -> Iterator[tuple[Where, str]]:
    """Yield each adapter's default that contradicts a limit or another adapter.

    Those that are merged or `chosen` are used at once by requests that name none.
    """
    for adapter in adapters:
        own: dict[str, Any] = dict(adapter.defaults)
        for field, rule in contradictions(replace(defaults, **own), limits, (), multiple, own):
            if field.removeprefix("defaults.") in own:
                yield ("adapters", adapter.name, *field.split(".")), rule
    first: dict[str, Adapter] = {}  # that states a field
    for adapter in (each for each in adapters if each.merge or each.name in chosen):
        for field, value in adapter.defaults.items():
            other = first.setdefault(field, adapter)
            if other.defaults[field] != value:
                used = "are used by every request that names none, so they must agree"
                yield ("default_adapters",), f"{other.name} and {adapter.name} {used} on {field}"


def of_two_experts(adapters: Collection[Adapter]) -> Iterator[tuple[Where, str]]:
    """Yield each field for two experts, of which the model has one."""
    for adapter in adapters:
        if adapter.files.low not in (None, adapter.files.high):
            yield ("adapters", adapter.name, "files"), "must be one file, or high alone: the model has one transformer"
        if adapter.strength.low != adapter.strength.high:
            yield ("adapters", adapter.name, "strength"), "must be one number: the model has one transformer"


def family_differences(named: Family, found: Family, modalities: Collection[Modality]) -> list[str]:
    pairs = (
        ("experts", named.experts, found.experts),
        ("a size multiple of", named.size_multiple, found.size_multiple),
        ("a width of", named.inner_dim, found.inner_dim),
    )
    differences = [f"{what} {one}, the folder has {other}" for what, one, other in pairs if one != other]
    if modalities and named.modality not in modalities:
        differences.append(f"the modality {named.modality.word}, the folder has {found.modality.word}")
    return differences


def narrows(modality: Modality, known: Modality) -> bool:
    """Return whether a `known` model may be declared `modality`."""
    return known.needs <= modality.needs and modality.allows <= known.allows
