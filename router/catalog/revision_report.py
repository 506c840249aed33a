"""The report on a new revision: its changes, broken entries and remarks."""

from __future__ import annotations

from pathlib import Path

from registry import Registry
from registry.changes import changes


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
