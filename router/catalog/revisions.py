"""Which models are served: what the newest revision of the models file says, and for a job what its own said."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec, Registry, RegistryError, folders
from registry.backends import Backends
from registry.changes import changes
from registry.loader import load_text, read_text
from registry.source import is_folder, is_hub_id
from router.errors import BootError, reason
from router.jobs import RevisionStore
from router.values import Backend, Revision

Known = Backends | Collection[Backend]
LOOK_SECONDS = 0.25  # how often a process asks for a newer revision, at most
GRAIN_SECONDS = 2.0  # file systems round their times: a file that seems this much older may be newer
CACHED = 16  # earlier revisions, of jobs that are not finished yet
log = logging.getLogger(__name__)


class Registries:
    """The registry that a process serves, and those of earlier revisions; safe to use from many threads.

    One that came from a revision gives way to the next of the same file. Plugins stay those of the start: a
    revision that needs others is logged, and passed over.
    """

    def __init__(self, store: RevisionStore, backends: Known, registry: Registry) -> None:
        self._store = store
        self._backends = backends
        self._current = registry
        self._asked = registry.revision or 0
        self._since = self._looked = time.monotonic()
        self._lock = Lock()
        self._cached = lru_cache(CACHED)(self._revision)

    def poll(self) -> Registry:
        """Take up a newer revision, if there is one, and return the registry in force.

        Poll once for each request: the next poll may return another. One caller in `LOOK_SECONDS` asks the store, in
        one cheap query; the others do not wait for it.
        """
        due = self._current.revision is not None and time.monotonic() - self._looked >= LOOK_SECONDS
        if due and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looked = time.monotonic()
                self._lock.release()
        return self._current

    @property
    def age(self) -> float:
        """Seconds since this process took up what it serves."""
        return time.monotonic() - self._since

    def model(self, name: str, revision: int | None) -> ModelSpec | None:
        """Return a model as a revision has it, or as it is now where that is not to be had; None if there is none."""
        current = self._current
        known = None if revision in (None, current.revision) else self._cached(revision)
        entry = (known or current).find(name)
        return entry if isinstance(entry, ModelSpec) and entry.name == name else None

    def reload(self) -> tuple[str, ...]:
        """Publish the models file anew and return what that changes, line by line.

        Raises `RegistryError` with every problem of the file, and then nothing has changed.
        """
        current = self._current
        if not current.file:
            raise BootError("there is no models file to read again: this server has the one model that it was given")
        file = Path(current.file).absolute()
        with self._store.lock():
            before = self._store.latest(file)
            now = _publish(self._store, file, self._backends, before)
        if before is None:
            return (f"{file} is revision {now.revision}, its first: nothing that runs now follows this file",)
        if before.n == now.revision:
            return (f"nothing has changed: {file} is revision {before.n} already", *_remarks(now))
        # what this process has read before knows what the folders were then
        return _differences(current if before.n == current.revision else self._cached(before.n), now)

    def _look(self) -> None:
        """Take up the newest revision of the file that is served, if this process can."""
        try:
            newest = self._store.newest()
            if newest == self._asked:
                return
            revision = self._store.latest(Path(self._current.file))
        except SQLAlchemyError as error:
            log.error("the store did not answer; what is served stays as it is: %s", reason(error))
            return
        self._asked = newest
        if revision is not None and revision.n != self._current.revision:
            self._take_up(revision)

    def _take_up(self, revision: Revision) -> None:
        registry = _good(revision, self._backends)
        if registry is None:
            log.error("revision %d goes on here; what needs new plugins needs a restart", self._current.revision)
            return
        self._current, self._since = registry, time.monotonic()
        log.info("serving revision %d of %s", revision.n, revision.file)
        log_broken(registry)

    def _revision(self, n: int) -> Registry | None:
        """Return the registry of a revision; None if it is forgotten, or not for the plugins of this process."""
        revision = self._store.get(n)
        return _good(revision, self._backends) if revision else None


def newest_good(store: RevisionStore, file: Path, backends: Known) -> Registry:
    """Return what a process that starts serves: `file` if it is newer than its revisions, else the latest good one.

    A newer file is published, and what that changes is logged; so is what is wrong with a bad one. Raises
    `RegistryError` about it where there is no revision.
    """
    with store.lock():
        latest = store.latest(file)
        if latest is None:
            return _publish(store, file, backends)
        if _is_newer(file, latest):
            try:
                now = _publish(store, file, backends)
            except RegistryError as error:
                log.error("%s cannot be served as it is now, and what was published before goes on:\n%s", file, error)
            else:
                _log_differences(latest, now, backends)
                return now
    for revision in store.published(file):
        if registry := _good(revision, backends):
            return registry
    with store.lock():
        return _publish(store, file, backends)


def _publish(store: RevisionStore, file: Path, backends: Known, before: Revision | None = None) -> Registry:
    """Read a models file, publish it if its newest revision says something else; the caller has the lock.

    It is also published where a folder of weights has changed since the revision `before`, so that every process
    reads it again.
    """
    read_at = time.time()
    text = read_text(file)
    registry = load_text(text, file, backends)
    anew = before is not None and _folders_changed(registry, before.created_at - GRAIN_SECONDS)
    return replace(registry, revision=store.publish(file, text, read_at, anew=anew).n)


def _folders_changed(registry: Registry, since: float) -> bool:
    paths = [path for model in registry.models for path in _paths(model.source, model.revision)]
    paths += [path for model in registry.broken for path in _paths(model.source, model.revision)]
    return any(folders.changed_at(path) > since for path in paths)


def _paths(source: str | None, revision: str | None) -> tuple[Path, ...]:
    """Return what is looked at of a model's weights, nothing of the embedded ones."""
    if source is None or not (is_hub_id(source) or is_folder(source)):
        return ()
    return folders.hub_cache.paths(source, revision) if is_hub_id(source) else (Path(source),)


def log_broken(registry: Registry) -> None:
    """Log which entries cannot be served, with the paths, and where entries and folders disagree."""
    for model in registry.broken:
        log.error("%s is broken, and requests for it are refused: %s", model.name, model.problem)
    for note in registry.notes:
        log.warning("%s", note)


def _good(revision: Revision, backends: Known) -> Registry | None:
    """Return the registry of a revision; None, with every problem in the log, if this process cannot serve it."""
    try:
        return load_text(revision.text, revision.file, backends, revision.n)
    except RegistryError as error:
        log.error("revision %d cannot be served by this process:\n%s", revision.n, error)
        return None


def _is_newer(file: Path, revision: Revision) -> bool:
    """Say whether a file was written after a revision was read from it; log where it only differs."""
    try:
        if file.stat().st_mtime > revision.created_at - GRAIN_SECONDS:
            return True
        if read_text(file) != revision.text:
            log.warning(
                "%s differs from revision %d but is older than it: 'framegate reload' would take it", file, revision.n
            )
    except (OSError, RegistryError):
        return True  # what is wrong with it is said when it is read
    return False


def _log_differences(before: Revision, now: Registry, backends: Known) -> None:
    if before.n != now.revision:
        for line in _differences(_good(before, backends), now):
            log.info("%s", line)


def _differences(old: Registry | None, now: Registry) -> tuple[str, ...]:
    """Say line by line what a new revision changes; only its number where the one before cannot be read here."""
    heading = f"{Path(now.file).absolute()} is revision {now.revision}"
    if old is None:
        return (heading, *_remarks(now))
    new = sorted({model.backend for model in now.models} - {model.backend for model in old.models})
    advice = "processes that started before its plugin was there take this up at their next start"
    unknown = (f"note: the backend {name} was not used before; {advice}" for name in new)
    return (heading, *changes(old, now), *unknown, *_remarks(now))


def _remarks(registry: Registry) -> tuple[str, ...]:
    """Say which entries cannot be served, with the paths, and where entries and folders disagree."""
    broken = (f"broken: {model.problem}" for model in registry.broken)
    return (*broken, *(f"note: {note}" for note in registry.notes))
