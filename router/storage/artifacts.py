"""The artifact store: inputs and outputs of jobs, each file whole or absent."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from router.errors import TooManyWaiters
from router.runtime.fair_slots import Slots
from router.runtime.files import PRIVATE, PRIVATE_FOLDER, make_folder, publish, sync_folder, write_file
from router.values import Job

SHARED, SHARED_FOLDER = 0o640, 0o750  # of results if the group may enter the data folder, as nginx must
MAKERS = 2  # threads that make derived files: a sprite sheet of a long video takes a core for a second
MAX_QUEUED, WAIT_SECONDS = 64, 10.0  # requests for derived files
JOB_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Usage:
    """The files of a job: bytes, last change and last read (seconds since 1970).

    `outputs` has the name and the size of each file except inputs.
    """

    size: int = 0
    changed_at: float = 0.0
    read_at: float = 0.0
    outputs: frozenset[tuple[str, int]] = frozenset()

    def __or__(self, other: Usage) -> Usage:
        return Usage(
            self.size + other.size,
            max(self.changed_at, other.changed_at),
            max(self.read_at, other.read_at),
            self.outputs | other.outputs,
        )

    def has_leftovers(self, output: str | None) -> bool:
        """Say whether files of other attempts than `output`'s are left, or a preview."""
        return any(_attempt(name) != _attempt_of(output) for name, _ in self.outputs)


class ArtifactStore:
    """Input images, results, files derived from results, and previews.

    `inputs/<job>/<name>`: an input, as PNG. `videos/<job>/<attempt>.mp4` (or `.png`): the result, with its thumbnail
    and sprite sheet beside it. `previews/<job>.jpg`: while the job runs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._makers = Slots(MAKERS, MAX_QUEUED, WAIT_SECONDS)
        self._durable: set[str] = set()  # folders of the root that survive a power cut

    def put_input(self, job_id: str, name: str, data: bytes) -> None:
        """Store an input durably."""
        path = self._folder("inputs", job_id) / name
        inputs = self._kind("inputs", PRIVATE_FOLDER)
        path.parent.mkdir(PRIVATE_FOLDER, exist_ok=True)
        write_file(path, data, root=inputs)

    def read_input(self, job_id: str, name: str) -> bytes:
        return (self._folder("inputs", job_id) / name).read_bytes()

    def part(self, job_id: str, attempt: int, suffix: str) -> Path:
        """Return an empty file for an attempt's output; `publish` it when it is complete.

        Files of earlier attempts are removed.
        """
        # the file exists at once, so that an earlier attempt that still runs cannot remove the folder
        folder = self._folder("videos", job_id)
        path = folder / f"{attempt}.part{suffix}"
        while not path.exists():
            self._kind("videos", SHARED_FOLDER)
            with suppress(FileNotFoundError):  # the folder was removed in between
                folder.mkdir(self._result(SHARED_FOLDER), exist_ok=True)
                path.touch(self._result(SHARED))
        for left in folder.iterdir():
            if _attempt(left.name) < attempt:
                left.unlink(missing_ok=True)
        return path

    def publish(self, part: Path) -> Path:
        """Rename a complete part to its final name."""
        path = part.with_name(part.name.replace(".part", ""))
        return publish(part, path, self._root / "videos", self._result(SHARED))

    def put_preview(self, job_id: str, data: bytes) -> None:
        """Replace the preview of a running job."""
        path = self._preview(job_id)
        self._kind("previews", PRIVATE_FOLDER)
        write_file(path, data)  # not durable: after a power cut the job has no preview

    def preview(self, job_id: str) -> bytes | None:
        """Return a running job's newest preview, a JPEG; None without one."""
        try:
            return self._preview(job_id).read_bytes()
        except FileNotFoundError:
            return None

    def drop_preview(self, job_id: str) -> None:
        """Remove a job's preview, also incomplete ones of killed engines."""
        path = self._preview(job_id)
        for left in path.parent.glob(f"{job_id}.*"):
            left.unlink(missing_ok=True)

    def _preview(self, job_id: str) -> Path:
        return self._folder("previews", job_id).with_suffix(".jpg")

    def output(self, job: Job) -> Path | None:
        """Return a completed job's file; None if missing or incomplete."""
        if job.artifact is None:
            return None
        path = self._folder("videos", job.id) / job.artifact.name
        try:
            return path if path.stat().st_size == job.artifact.size else None
        except FileNotFoundError:
            return None

    def derived_file(self, output: Path, suffix: str, make: Callable[[], bytes], owner: str = "") -> Path:
        """Return a file derived from a job's output; the first call writes the bytes of `make`.

        It is deleted with the job; raises `FileNotFoundError` if that happens meanwhile. Few are made at a time, one of
        an `owner`; raises `TooManyWaiters` with too many in the queue.
        """
        path = output.with_suffix(suffix)
        if path.is_file():
            return path
        with self._makers.take(owner) as taken:
            if not taken:
                message = "many small pictures of videos are being made; send this request again later"
                raise TooManyWaiters(message, headers=(("retry-after", "5"),))
            if path.is_file():
                return path
            return write_file(path, make(), mode=self._result(SHARED), root=path.parent)

    def discard(self, path: Path) -> None:
        """Remove an output without its job, and the folder if it is empty."""
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another attempt's file is in it
            path.parent.rmdir()

    def trim(self, job_id: str, output: str | None) -> None:
        """Remove the preview and files of other attempts than `output`'s."""
        self.drop_preview(job_id)
        for path in _inside(self._folder("videos", job_id)):
            if _attempt(path.name) != _attempt_of(output):
                self.discard(path)

    def touch(self, output: Path) -> None:
        """Note the time of a read; retention removes the files read longest ago."""
        # by hand, as most disks are mounted without access times
        with suppress(OSError):  # the file is gone, or its disk is read-only
            os.utime(output, (time.time(), output.stat().st_mtime))

    def usage(self) -> Mapping[str, Usage]:
        """Return the usage of each job with files."""
        found: dict[str, Usage] = {}
        for kind in ("inputs", "videos", "previews"):
            for path in _inside(self._root / kind):
                job_id = path.name.partition(".")[0]
                if JOB_ID.fullmatch(job_id):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        found[job_id] = _usage(path, is_output=kind != "inputs") | found.get(job_id, Usage())
        return found

    def delete(self, job_id: str) -> None:
        """Remove all files of a job durably, also an older preview."""
        self.drop_preview(job_id)
        for kind in ("inputs", "videos", "previews"):
            shutil.rmtree(self._folder(kind, job_id), ignore_errors=True)
            with suppress(OSError):  # no such folder yet, or a broken disk: restored files are orphans
                sync_folder(self._root / kind)

    def _kind(self, name: str, mode: int) -> Path:
        """Return a folder of the root, made durably if missing."""
        folder = self._root / name
        if name not in self._durable or not folder.is_dir():
            make_folder(self._root)
            make_folder(folder, self._result(mode))
            sync_folder(self._root)  # another process that has just made it may not have synced it yet
            self._durable.add(name)
        return folder

    def _result(self, shared: int) -> int:
        """Return a result's permissions: `shared` if the group may enter the data folder."""
        is_open = self._root.stat().st_mode & stat.S_IXGRP
        return shared if is_open else shared & (PRIVATE | PRIVATE_FOLDER)

    def _folder(self, kind: str, job_id: str) -> Path:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"a job id is 32 hexadecimal digits, got {job_id!r}")
        return self._root / kind / job_id


def _usage(path: Path, *, is_output: bool) -> Usage:
    """Return the usage of a file or a whole folder."""
    stat = path.stat()
    if not path.is_dir():
        outputs = frozenset({(path.name, stat.st_size)} if is_output else ())
        return Usage(stat.st_size, stat.st_mtime, max(stat.st_atime, stat.st_mtime), outputs)
    use = Usage(changed_at=stat.st_mtime)
    for inner in _inside(path):
        use |= _usage(inner, is_output=is_output)
    return use


def _attempt(name: str) -> int:
    """Return the attempt in an output file's name, 0 without one."""
    number = name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _attempt_of(output: str | None) -> int:
    """Return the attempt of the result; -1 without a result."""
    return _attempt(output) if output else -1


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
