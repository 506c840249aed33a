"""The files of a repository's revision: present, missing, and disk space for the rest."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from router.catalog.download import cache_paths
from router.catalog.download.failures import WrongFile
from router.catalog.download.selection import MODEL, Selection
from router.errors import DiskFull
from router.runtime.byte_size import format_bytes

SHA256_DIGITS = 64
SHOWN = 5  # files in a message
WEIGHTS = (".safetensors", ".gguf")
DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """A file of the hub; `digest` is SHA-256 for large files, else git's SHA-1."""

    path: str
    url: str
    size: int
    digest: str
    blob: Path

    @property
    def part(self) -> Path:
        """The path of the unfinished file."""
        return self.blob.with_name(self.blob.name + cache_paths.UNFINISHED)

    @property
    def is_whole(self) -> bool:
        return self.blob.exists() and self.blob.stat().st_size == self.size

    @property
    def here(self) -> int:
        """The bytes of the file that are present."""
        if self.is_whole:
            return self.size
        return min(self.part.stat().st_size, self.size) if self.part.exists() else 0

    def hasher(self) -> Any:
        # git's own blob hash covers a header, so that it must be hashed as well
        if len(self.digest) == SHA256_DIGITS:
            return hashlib.sha256()
        return hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)


@dataclass(frozen=True)
class Plan:
    """The files of one revision, without duplicates."""

    repo: str
    files: tuple[File, ...]

    @cached_property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def here(self) -> int:
        return sum(file.here for file in self.files)

    def check_disk_space(self) -> None:
        """Raise `DiskFull` if the missing bytes exceed the cache's free space."""
        folder = cache_paths.blobs(self.repo)
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = self.size - self.here, shutil.disk_usage(folder).free
        if needed > free:
            raise DiskFull(
                f"{self.repo} needs {format_bytes(needed)} more in the hub's cache, where {format_bytes(free)} "
                "are free: make room, or let HF_HOME name a folder on a larger disk"
            )

    def discard(self) -> None:
        """Remove unfinished files; complete files stay."""
        for file in self.files:
            file.part.unlink(missing_ok=True)


def make(repo: str, revision: str | None, selection: Selection = MODEL) -> Plan:
    """Ask the hub for the selected files of a revision; raise its client's errors.

    Raises `WrongFile` if it has none of a selected name.
    """
    from huggingface_hub import HfApi, constants, hf_hub_url

    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    info = HfApi().model_info(repo, revision=revision or "main", files_metadata=True, timeout=timeout)
    _require(selection.names, [listed.rfilename for listed in info.siblings or ()])
    files = {}
    for listed in info.siblings or ():
        if selection.has(listed.rfilename):
            digest = listed.lfs.sha256 if listed.lfs else str(listed.blob_id)
            if not DIGEST.fullmatch(digest):  # it becomes a file name
                raise WrongFile(f"the hub lists {listed.rfilename!a} with the digest {digest!a}, which is none")
            url = hf_hub_url(repo, listed.rfilename, revision=info.sha)
            files[digest] = File(listed.rfilename, url, listed.size or 0, digest, cache_paths.blobs(repo) / digest)
    return Plan(repo, tuple(files.values()))


def _require(names: Sequence[str], listed: Sequence[str]) -> None:
    for name in names:
        if name not in listed:
            weights = sorted(each for each in listed if each.endswith(WEIGHTS))
            more = f" and {len(weights) - SHOWN} more" if len(weights) > SHOWN else ""
            raise WrongFile(f"it has no file {name}; it has {', '.join(weights[:SHOWN]) or 'no file of weights'}{more}")
