"""What a revision of a repository consists of, what of it is here, and whether the rest has room."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from router.catalog.download import cache_paths
from router.catalog.download.failures import WrongFile
from router.errors import DiskFull
from router.runtime.byte_size import format_bytes

SHA256_DIGITS = 64
DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """A file of the hub: `digest` is its SHA-256 where the hub keeps it as a large file, else git's SHA-1 of it."""

    path: str
    url: str
    size: int
    digest: str
    blob: Path

    @property
    def part(self) -> Path:
        """Where it grows until it is whole."""
        return self.blob.with_name(self.blob.name + cache_paths.UNFINISHED)

    @property
    def is_whole(self) -> bool:
        return self.blob.exists() and self.blob.stat().st_size == self.size

    @property
    def here(self) -> int:
        """How many of its bytes are here."""
        if self.is_whole:
            return self.size
        return min(self.part.stat().st_size, self.size) if self.part.exists() else 0

    def hasher(self) -> Any:
        """Return a hash that makes `digest` of the file's bytes."""
        if len(self.digest) == SHA256_DIGITS:
            return hashlib.sha256()
        return hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)


@dataclass(frozen=True)
class Plan:
    """The files of one revision, those of the same bytes once."""

    repo: str
    files: tuple[File, ...]

    @cached_property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def here(self) -> int:
        return sum(file.here for file in self.files)

    def require_room(self) -> None:
        """Raise `DiskFull` where the file system of the cache has no room for what is not here yet."""
        folder = cache_paths.blobs(self.repo)
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = self.size - self.here, shutil.disk_usage(folder).free
        if needed > free:
            raise DiskFull(
                f"{self.repo} needs {format_bytes(needed)} more in the hub's cache, where {format_bytes(free)} "
                "are free: make room, or let HF_HOME name a folder on a larger disk"
            )

    def discard(self) -> None:
        """Remove what is half here; whole files stay."""
        for file in self.files:
            file.part.unlink(missing_ok=True)


def make(repo: str, revision: str | None) -> Plan:
    """Ask the hub once what it has; raises what its client does."""
    from huggingface_hub import HfApi, constants, hf_hub_url

    info = HfApi().model_info(
        repo, revision=revision or "main", files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
    )
    files = {}
    for listed in info.siblings or ():
        if any(fnmatch(listed.rfilename, pattern) for pattern in cache_paths.WANTED):
            digest = listed.lfs.sha256 if listed.lfs else str(listed.blob_id)
            if not DIGEST.fullmatch(digest):  # it names a file here
                raise WrongFile(f"the hub lists {listed.rfilename!a} with the digest {digest!a}, which is none")
            url = hf_hub_url(repo, listed.rfilename, revision=info.sha)
            files[digest] = File(listed.rfilename, url, listed.size or 0, digest, cache_paths.blobs(repo) / digest)
    return Plan(repo, tuple(files.values()))
