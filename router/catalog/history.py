"""The published revisions of the models file, and what a reload would change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from functools import lru_cache, partial
from pathlib import Path

from registry import Registry, RegistryError
from registry.backends import AT_RELOAD, Backends
from registry.changes import changes, remarks
from registry.lines import read_text
from router.catalog.publication import GRAIN_SECONDS, folders_changed, load_new, parse
from router.catalog.revisions import Registries
from router.jobs import RevisionStore
from router.values import Revision

CACHED = 32  # revisions; the store keeps 20, and those of unfinished jobs
REPUBLISHED = "the text is the same: files of weights had changed"


@dataclass(frozen=True)
class Preview:
    """The changes or the problems of a reload of `file`."""

    file: Path
    changed: bool
    diff: str
    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class RevisionHistory:
    """The revisions of the served models file; none on a server without one."""

    def __init__(self, store: RevisionStore, backends: Backends, registries: Registries) -> None:
        self._store = store
        self._backends = replace(backends, advice=AT_RELOAD)
        self._registries = registries
        self._cached = lru_cache(CACHED)(partial(_parsed, backends=self._backends))

    @property
    def file(self) -> Path | None:
        """The models file, None on a server without one."""
        served = self._registries.poll().file
        return Path(served).absolute() if served else None

    def published(self) -> tuple[Revision, ...]:
        """Return the revisions that the store keeps, newest first."""
        return self._store.published(self.file) if self.file else ()

    def is_current(self, revision: Revision) -> bool:
        return revision.n == self._registries.poll().revision

    def changes(self, before: Revision | None, now: Revision) -> tuple[str, ...]:
        """Return one line each for changed models, routes and default; none without `before`."""
        if before is None:
            return ()
        return () if before.n == now.n else self._changes(before, self._cached(now), now.text)

    def preview(self) -> Preview | None:
        """Read the models file without publishing it; None on a server without one."""
        if (file := self.file) is None:
            return None
        before = self._store.latest(file)
        try:
            text = read_text(file)
        except RegistryError as error:
            return Preview(file, True, "", problems=_problems(error))
        diff = difference(before.text, text, f"revision {before.n}", file.name) if before else ""
        try:
            now = load_new(self._store, text, file, self._backends, before)
        except RegistryError as error:
            return Preview(file, True, diff, problems=_problems(error))
        is_new = before is None or before.text != text or folders_changed(now, before.created_at - GRAIN_SECONDS)
        lines = self._changes(before, now, text) if before and is_new else ()
        return Preview(file, is_new, diff, (*lines, *remarks(now)))

    def _changes(self, before: Revision, now: Registry | None, text: str) -> tuple[str, ...]:
        former = self._cached(before)
        if former is None or now is None:
            return (f"this server's plugins cannot read {'this revision' if now is None else f'revision {before.n}'}",)
        return changes(former, now) or ((REPUBLISHED,) if before.text == text else ())


def _parsed(revision: Revision, backends: Backends) -> Registry | None:
    try:
        return parse(revision, backends)
    except RegistryError:
        return None


def difference(before: str, now: str, old: str, new: str) -> str:
    """Return a unified diff of two texts, empty for equal ones."""
    lines: Sequence[str] = [*unified_diff(before.splitlines(), now.splitlines(), old, new, lineterm="")]
    return "\n".join(lines)


def _problems(error: RegistryError) -> tuple[str, ...]:
    return tuple(str(problem) for problem in error.problems)
