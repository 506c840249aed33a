"""The models that a device holds at once, loaded one after the other."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry import ModelSpec
from router.values import Plan, PlannedPart, distinct


@dataclass(frozen=True)
class Loading:
    """The load of a model: the models unloaded for it, and those resident then."""

    model: str
    evicted: tuple[str, ...]
    resident: tuple[str, ...]


def loadings(plans: Sequence[tuple[ModelSpec, Plan]], budget: int, most: int) -> tuple[Loading, ...]:
    """Return the loads of models in this order, at most `most` at once.

    As in an engine the least recently used model leaves first, a pinned one never.
    """
    parts = {model.name: distinct(plan.parts) for model, plan in plans}
    pinned = {model.name for model, _ in plans if model.pin}
    resident: list[str] = []
    found = []
    for model, _ in plans:
        evicted = []
        while len(resident) >= most or _bytes(parts, [*resident, model.name]) > budget:
            oldest = next((name for name in resident if name not in pinned), None)
            if oldest is None:
                break
            resident.remove(oldest)
            evicted.append(oldest)
        if _bytes(parts, [*resident, model.name]) <= budget and len(resident) < most:
            resident.append(model.name)
        found.append(Loading(model.name, tuple(evicted), tuple(resident)))
    return tuple(found)


def shared(plans: Iterable[tuple[ModelSpec, Plan]]) -> tuple[tuple[PlannedPart, tuple[str, ...]], ...]:
    """Return the parts of several models, each with their names."""
    owners: dict[Hashable, tuple[PlannedPart, list[str]]] = {}
    for model, plan in plans:
        for part in distinct(plan.parts).values():
            if part.identity is not None:
                owners.setdefault(part.identity, (part, []))[1].append(model.name)
    return tuple((part, tuple(names)) for part, names in owners.values() if len(names) > 1)


def _bytes(parts: Mapping[str, Mapping[Hashable, PlannedPart]], names: Iterable[str]) -> int:
    # a part without an identity is a model's own
    merged = {
        (name, key) if part.identity is None else key: part for name in names for key, part in parts[name].items()
    }
    return sum(part.device_bytes for part in merged.values())
