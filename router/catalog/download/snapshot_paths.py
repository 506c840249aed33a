"""A cache of snapshot folders, valid until their files change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from registry.folders import hub_cache
from router.catalog.download import cache_paths

GRAIN_SECONDS = 2.0  # a younger file may change again within the same timestamp
MOST_FOLDERS = 100

Stamp = tuple[tuple[str | int, ...], ...]
Ask = Callable[[str, str | None], Path | None]


class Snapshots:
    """Caches the results of `cache_paths.cached`: the client takes a second to import.

    A result is valid until the reference, the snapshot with its folders, or the folders of blobs and file lists
    change: a request costs their `stat`s. Safe to use from many threads.
    """

    def __init__(self, ask: Ask = cache_paths.cached, grain: float = GRAIN_SECONDS) -> None:
        self._ask = ask
        self._grain = grain
        self._known: dict[tuple[Path, str | None], tuple[Stamp, Path | None]] = {}

    def has(self, repo: str) -> bool:
        """Return whether any file of a repository is in the cache."""
        return os.path.isdir(cache_paths.repository(repo))

    def find(self, repo: str, revision: str | None) -> Path | None:
        """Return the complete snapshot of a repository in the local cache, or None."""
        key = (cache_paths.repository(repo), revision)
        before = _stamp(repo, revision)
        known = self._known.get(key)
        if known is not None and known[0] == before:
            return known[1]
        found = self._ask(repo, revision) if self.has(repo) else None
        if before == _stamp(repo, revision) and _is_older(before, self._grain):
            self._known[key] = (before, found)
        return found


def _stamp(repo: str, revision: str | None) -> Stamp:
    folder = cache_paths.repository(repo)
    watched = [folder, cache_paths.blobs(repo), folder / "trees", *hub_cache.paths(repo, revision)]
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
