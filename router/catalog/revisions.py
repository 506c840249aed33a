"""The served models: the newest revision of the models file, or a job's own."""

import logging
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec, Registry, RegistryError
from registry.backends import AT_RELOAD, Backends
from registry.changes import differences, remarks
from registry.lines import read_text
from router.catalog.publication import GRAIN_SECONDS, Known, complete, log_broken, parse, parse_or_log, publish
from router.errors import BootError, is_outage, reason
from router.jobs import RevisionStore
from router.values import Revision

POLL_SECONDS = 0.25  # at most one poll for a newer revision per process
CACHED = 16  # earlier revisions of unfinished jobs
log = logging.getLogger(__name__)


class Registries:
    """The served registry and those of earlier revisions; safe to use from many threads.

    A published registry is replaced by the next revision of its file. The plugins stay those of the start: a revision
    that needs others is logged and skipped.
    """

    def __init__(self, store: RevisionStore, backends: Known, registry: Registry) -> None:
        self._store = store
        self._backends = replace(Backends.of(backends), advice=AT_RELOAD)
        self._current = registry
        self._newest_seen = registry.revision or 0
        self._since = self._polled = time.monotonic()
        self._lock = Lock()
        self._cached = lru_cache(CACHED)(self._revision)

    def poll(self) -> Registry:
        """Take up a newer revision, if any, and return the registry in force.

        Poll once per request: the next poll may return another. Once per `POLL_SECONDS` one caller polls the store
        with a cheap query; the others do not wait.
        """
        # non-blocking: a request never waits for another one's poll
        due = self._current.revision is not None and time.monotonic() - self._polled >= POLL_SECONDS
        if due and self._lock.acquire(blocking=False):
            try:
                self._poll()
            finally:
                self._polled = time.monotonic()
                self._lock.release()
        return self._current

    def read_again(self) -> Registry:
        """Read the folders of the revision in force again, and return the registry."""
        with self._lock:
            current = self._current
            try:
                revision = self._store.get(current.revision, Path(current.file)) if current.revision else None
            except SQLAlchemyError:
                return current  # the next poll says so
            registry = parse_or_log(revision, self._backends) if revision else None
            if revision and registry and registry != current:
                self._current = self._completed(revision, registry)
            return self._current

    @property
    def age(self) -> float:
        """Seconds since this process started to serve the current revision."""
        return time.monotonic() - self._since

    def model(self, name: str, revision: int | None) -> ModelSpec | None:
        """Return a model of a revision, else the current one, else None."""
        current = self._current
        known = None if revision in (None, current.revision) else self._cached(revision)
        entry = (known or current).find(name)
        return entry if isinstance(entry, ModelSpec) and entry.name == name else None

    def reload(self) -> tuple[str, ...]:
        """Publish the models file and return its changes, line by line.

        Raises `RegistryError` with every problem of the file; then nothing changes.
        """
        current = self._current
        if not current.file:
            raise BootError("there is no models file to read again: this server has the one model that it was given")
        file = Path(current.file).absolute()
        with self._store.lock():
            before = self._store.latest(file)
            now = publish(self._store, file, self._backends, before)
        if before is None:
            return (f"{file} is revision {now.revision}, its first: nothing that runs now follows this file",)
        if before.n == now.revision:
            return (f"nothing has changed: {file} is revision {before.n} already", *remarks(now))
        # a registry read earlier knows the folders of that time
        return differences(current if before.n == current.revision else self._cached(before.n), now)

    def _poll(self) -> None:
        try:
            newest = self._store.newest()
            if newest == self._newest_seen:
                return
            revision = self._store.latest(Path(self._current.file))
        except SQLAlchemyError as error:
            if not is_outage(error):  # of that the log has a line already
                log.error("the store did not answer; what is served stays as it is: %s", reason(error))
            return
        self._newest_seen = newest
        if revision is None or revision.n == self._current.revision:
            return
        registry = parse_or_log(revision, self._backends)
        if registry is None:
            log.error("revision %d goes on here; what needs new plugins needs a restart", self._current.revision)
            return
        self._current, self._since = self._completed(revision, registry), time.monotonic()
        log.info("serving revision %d of %s", revision.n, revision.file)
        log_broken(registry)

    def _completed(self, revision: Revision, registry: Registry) -> Registry:
        try:
            return complete(self._store, revision, registry, self._backends)
        except SQLAlchemyError as error:
            log.error("the folders of this machine could not be published: %s", reason(error))
            return registry

    def _revision(self, n: int) -> Registry | None:
        revision = self._store.get(n, Path(self._current.file))
        return parse_or_log(revision, self._backends) if revision else None


def newest_good(store: RevisionStore, file: Path, backends: Known) -> Registry:
    """Return a new process's registry: a newer `file`, or the latest good revision.

    A newer file is published and its changes are logged; a bad one's problems are logged. Raises `RegistryError` for
    a bad file without any revision.
    """
    if store.is_shared:
        return _newest_of_all(store, file, backends)
    with store.lock():
        latest = store.latest(file)
        if latest is None:
            return publish(store, file, backends)
        if _is_newer(file, latest):
            try:
                now = publish(store, file, backends)
            except RegistryError as error:
                log.error("%s cannot be served as it is now, and what was published before goes on:\n%s", file, error)
            else:
                _log_differences(latest, now, backends)
                return now
    for revision in store.published(file):
        if registry := parse_or_log(revision, backends):
            return registry
    with store.lock():
        return publish(store, file, backends)


def _newest_of_all(store: RevisionStore, file: Path, backends: Known) -> Registry:
    """Return the latest good revision of all machines; publish `file` if there is none."""
    # a machine that starts publishes no other file: two machines with different ones would take turns
    with store.lock():
        latest = store.latest(file)
        if latest is None:
            return publish(store, file, backends)
    _log_other(file, latest)
    for revision in store.published(file):
        if registry := parse_or_log(revision, backends):
            return complete(store, revision, registry, backends)
    return parse(latest, backends)  # raises its problems


def _is_newer(file: Path, revision: Revision) -> bool:
    """Return whether a file is newer than a revision; log an older, different one."""
    try:
        if file.stat().st_mtime > revision.created_at - GRAIN_SECONDS:
            return True
        if read_text(file) != revision.text:
            advice = "'framegate reload' would take it"
            log.warning("%s differs from revision %d but is older than it: %s", file, revision.n, advice)
    except (OSError, RegistryError):
        return True  # its problems are reported by the later read
    return False


def _log_other(file: Path, revision: Revision) -> None:
    try:
        is_other = read_text(file) != revision.text
    except RegistryError as error:
        log.warning("revision %d is served, as this machine's file cannot be read: %s", revision.n, error)
        return
    if is_other:
        advice = "'framegate reload' here would publish it for all machines"
        log.warning("%s differs from revision %d, which all machines serve: %s", file, revision.n, advice)


def _log_differences(before: Revision, now: Registry, backends: Known) -> None:
    if before.n != now.revision:
        for line in differences(parse_or_log(before, backends), now):
            log.info("%s", line)
