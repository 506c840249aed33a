"""The report on a new revision: its changes, broken entries and remarks."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from registry.adapters import Adapter
from registry.models import BrokenModel, ModelSpec, Registry, Route
from registry.parts import REPLACEABLE, PartFiles

Entry = ModelSpec | BrokenModel | Route


def differences(old: Registry | None, now: Registry) -> tuple[str, ...]:
    """Return the changes of a new revision; just its number without `old`."""
    heading = f"{Path(now.file).absolute()} is revision {now.revision}"
    if old is None:
        return (heading, *remarks(now))
    new = sorted({model.backend for model in now.models} - {model.backend for model in old.models})
    advice = "processes that started before its plugin was there take this up at their next start"
    unknown = (f"note: the backend {name} was not used before; {advice}" for name in new)
    return (heading, *changes(old, now), *unknown, *remarks(now))


def remarks(registry: Registry) -> tuple[str, ...]:
    """Return broken entries with their paths, and differences between entries and folders."""
    broken = (f"broken: {model.problem}" for model in registry.broken)
    return (*broken, *(f"note: {note}" for note in registry.notes))


def changes(before: Registry, now: Registry) -> tuple[str, ...]:
    """Return one line each for changed models, routes and default."""
    lines = [
        _line("models", _compared((*before.models, *before.broken), (*now.models, *now.broken))),
        _line("routes", _compared(before.routes, now.routes)),
        f"default: {now.default} instead of {before.default}" if before.default != now.default else "",
    ]
    return tuple(filter(None, lines))


def _line(what: str, parts: Sequence[str]) -> str:
    return f"{what}: {'; '.join(parts)}" if parts else ""


def _compared(before: Sequence[Entry | Adapter], now: Sequence[Entry | Adapter]) -> list[str]:
    old, new = {entry.name: entry for entry in before}, {entry.name: entry for entry in now}
    changed = [f"{name} ({_fields(old[name], new[name])})" for name in new if name in old and old[name] != new[name]]
    parts = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": changed,
    }
    return [f"{word} {', '.join(names)}" for word, names in parts.items() if names]


def _fields(old: Entry | Adapter, new: Entry | Adapter) -> str:
    if isinstance(new, BrokenModel):
        return new.state
    if isinstance(old, BrokenModel):
        return "no longer broken"
    changed = _changed(old, new)
    if isinstance(old, ModelSpec) and isinstance(new, ModelSpec) and "adapters" in changed:
        each = _compared(old.adapters, new.adapters) or ["in another order"]
        changed[changed.index("adapters")] = f"adapters: {'; '.join(each)}"
    if isinstance(old, ModelSpec) and isinstance(new, ModelSpec) and "parts" in changed:
        changed[changed.index("parts")] = f"parts: {', '.join(_parts(old.parts, new.parts))}"
    return ", ".join(changed)


def _changed(old: Entry | Adapter, new: Entry | Adapter) -> list[str]:
    return [f.name for f in fields(new) if getattr(old, f.name) != getattr(new, f.name)]


def _parts(old: PartFiles, new: PartFiles) -> list[str]:
    return [part for part in REPLACEABLE if old.get(part) != new.get(part)]
