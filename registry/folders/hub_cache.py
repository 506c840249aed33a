"""Paths of the hub's cache, by its client's rules and without its import.

The layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache; the variables: huggingface_hub/constants.py
"""

import os
from collections.abc import Collection
from pathlib import Path

from registry.errors import FolderError
from registry.folders.files import beginning

MOST_REVISION = 200  # bytes


def root() -> Path:
    """Return the folder of all repositories, existing or not."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(name):
            return _folder(value)
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return _folder(home) / "hub"


def name_of(repo: str) -> str:
    """Return the folder name of a repository, below `root` and its locks."""
    return f"models--{repo.replace('/', '--')}"


def snapshot(repo: str, revision: str | None) -> Path | None:
    """Return the folder of a repository's revision, or None."""
    named = _reference(repo, revision)
    try:
        commit = revision or ""
        if named.is_file():
            commit = beginning(named, "the reference", MOST_REVISION)[0].decode().strip()
    except (FolderError, OSError, ValueError):
        return None
    found = root() / name_of(repo) / "snapshots" / commit
    return found if commit and os.path.isdir(found) else None


def snapshots(repo: str) -> list[Path]:
    """Return the folders of a repository's revisions, the latest first."""
    try:
        with os.scandir(root() / name_of(repo) / "snapshots") as entries:
            dated = [(each.stat().st_mtime, Path(each.path)) for each in entries if each.is_dir()]
    except OSError:
        return []
    return [path for _, path in sorted(dated, reverse=True)]


def newest(repo: str) -> Path:
    """Return an absent path for the next snapshot of a repository."""
    return root() / name_of(repo) / "snapshots" / "newest"


def holding(repo: str, revision: str | None, files: Collection[str]) -> Path | None:
    """Return the snapshot of a revision, or an older one with all `files`."""
    newest = snapshot(repo, revision)
    if revision is not None or _has(newest, files):
        return newest
    # a download of other files of the repository may have moved on
    return next((each for each in snapshots(repo) if _has(each, files)), newest)


def paths(repo: str, revision: str | None) -> tuple[Path, ...]:
    """Return the paths that change with a repository's current snapshot."""
    return tuple(filter(None, (_reference(repo, revision), snapshot(repo, revision))))


def _has(folder: Path | None, files: Collection[str]) -> bool:
    return folder is not None and all(os.path.exists(folder / file) for file in files)


def _reference(repo: str, revision: str | None) -> Path:
    return root() / name_of(repo) / "refs" / (revision or "main")


def _folder(text: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(text)))
