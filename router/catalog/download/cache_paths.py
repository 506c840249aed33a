"""Paths of a repository in the hub's local cache, and its complete snapshots."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from registry.folders import hub_cache
from router.catalog.download.selection import MODEL, Selection

UNFINISHED = ".framegate.incomplete"  # a name of our own: the hub's client neither resumes its files nor knows ours

GRAIN_SECONDS = 2.0  # a younger file may change again within the same timestamp
MOST_FOLDERS = 100

Stamp = tuple[tuple[str | int, ...], ...]
Ask = Callable[[str, str | None, Selection], Path | None]


def repository(repo: str) -> Path:
    """Return a repository's folder in the cache, existing or not."""
    return hub_cache.root() / hub_cache.name_of(repo)


def blobs(repo: str) -> Path:
    """Return the folder of a repository's files, each named by its digest."""
    return repository(repo) / "blobs"


def lock(repo: str) -> Path:
    return hub_cache.root() / ".locks" / hub_cache.name_of(repo) / "framegate.lock"


def begun(repo: str) -> bool:
    """Return whether any file of the repository is here."""
    folder = blobs(repo)
    return folder.is_dir() and any(folder.iterdir())


def cached(repo: str, revision: str | None, selection: Selection = MODEL) -> Path | None:
    """Return the local snapshot of a repository with all selected files, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=selection.patterns,
            ignore_patterns=selection.left_out,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


class Snapshots:
    """Caches the results of `cached`: the client takes a second to import.

    A result is valid until the reference, the snapshot with its folders, or the folders of blobs and file lists
    change: a request costs their `stat`s. Safe to use from many threads.
    """

    def __init__(self, ask: Ask = cached, grain: float = GRAIN_SECONDS) -> None:
        self._ask = ask
        self._grain = grain
        self._known: dict[tuple[Path, str | None, Selection], tuple[Stamp, Path | None]] = {}

    def has(self, repo: str) -> bool:
        return os.path.isdir(repository(repo))

    def find(self, repo: str, revision: str | None, selection: Selection = MODEL) -> Path | None:
        key = (repository(repo), revision, selection)
        before = _stamp(repo, revision)
        known = self._known.get(key)
        if known is not None and known[0] == before:
            return known[1]
        found = self._ask(repo, revision, selection) if self.has(repo) else None
        if before == _stamp(repo, revision) and _is_older(before, self._grain):
            self._known[key] = (before, found)
        return found


def _stamp(repo: str, revision: str | None) -> Stamp:
    folder = repository(repo)
    watched = [folder, blobs(repo), folder / "trees", *hub_cache.paths(repo, revision)]
    watched += _folders(watched[-1])
    return tuple(_state(path) for path in watched)


def _folders(snapshot: Path) -> list[Path]:
    try:
        with os.scandir(snapshot) as entries:
            return [Path(each.path) for each in entries if each.is_dir()][:MOST_FOLDERS]
    except OSError:
        return []


def _state(path: Path) -> tuple[str | int, ...]:
    try:
        status = path.stat()
    except OSError:
        return (str(path),)
    return (str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _is_older(stamp: Stamp, seconds: float) -> bool:
    since = time.time_ns() - seconds * 1e9
    changed = [each[2] for each in stamp if len(each) > 1]
    return all(isinstance(at, int) and at < since for at in changed)
