"""Paths of a repository in the hub's local cache."""

from __future__ import annotations

from pathlib import Path

from registry.folders import hub_cache

WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.onnx", "*.onnx.data", "*.onnx_data")
UNFINISHED = ".framegate.incomplete"  # a name of our own: the hub's client neither resumes its files nor knows ours


def repository(repo: str) -> Path:
    """Return a repository's folder in the cache, existing or not."""
    return hub_cache.root() / hub_cache.name_of(repo)


def blobs(repo: str) -> Path:
    """Return the folder of a repository's files, each named by its digest."""
    return repository(repo) / "blobs"


def lock(repo: str) -> Path:
    """Return the path of a repository's download lock."""
    return hub_cache.root() / ".locks" / hub_cache.name_of(repo) / "framegate.lock"


def begun(repo: str) -> bool:
    """Return whether any file of the repository is here."""
    folder = blobs(repo)
    return folder.is_dir() and any(folder.iterdir())


def cached(repo: str, revision: str | None) -> Path | None:
    """Return the complete snapshot of a repository in the local cache, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(WANTED), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
