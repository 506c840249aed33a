"""Where the hub's client keeps what it has fetched, by its own rules and without importing it.

The layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache; the variables: huggingface_hub/constants.py
"""

from __future__ import annotations

import os
from pathlib import Path


def snapshot(repo: str, revision: str | None) -> Path | None:
    """Return the folder of a repository at a revision, None where nothing of it is on this machine."""
    folder = _cache() / f"models--{repo.replace('/', '--')}"
    named = folder / "refs" / (revision or "main")
    try:
        commit = named.read_text().strip() if named.is_file() else (revision or "")
    except (OSError, ValueError):
        return None
    found = folder / "snapshots" / commit
    return found if commit and os.path.isdir(found) else None


def paths(repo: str, revision: str | None) -> tuple[Path, ...]:
    """Return what changes when another snapshot of a repository is the one, or the snapshot does."""
    found = snapshot(repo, revision)
    reference = _cache() / f"models--{repo.replace('/', '--')}" / "refs" / (revision or "main")
    return (reference,) if found is None else (reference, found)


def _cache() -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(name):
            return _folder(value)
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return _folder(home) / "hub"


def _folder(text: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(text)))
