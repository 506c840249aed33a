"""The artifact store: inputs and outputs, each file whole or absent, each belonging to one job."""

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

SHARED, SHARED_FOLDER = 0o640, 0o750  # of results where the group may look into the data folder, as nginx must
MAKERS = 2  # small pictures made at a time: a sheet of a long video takes a core for a second
MAX_QUEUED, WAIT_SECONDS = 64, 10.0  # who may wait for theirs, and for how long
JOB_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Usage:
    """What a job takes: bytes, and when its files changed and were read, since 1970.

    `outputs` are the name and the size of each file that is no input.
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
        """Say whether there is anything of other attempts than that of `output`, or a preview."""
        return any(_attempt(name) != _kept(output) for name, _ in self.outputs)


class ArtifactStore:
    """`inputs/<job>/<name>` are the input images, as PNGs; `videos/<job>/<attempt>.mp4` (or `.png`) the results.

    Beside a result stand the small pictures of it that somebody asked for.

    `previews/<job>.jpg` is there while the job runs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._makers = Slots(MAKERS, MAX_QUEUED, WAIT_SECONDS)
        self._durable: set[str] = set()  # folders of the root whose names are on the disk

    def put_input(self, job_id: str, name: str, data: bytes) -> None:
        """Store one input durably."""
        path = self._folder("inputs", job_id) / name
        inputs = self._kind("inputs", PRIVATE_FOLDER)
        path.parent.mkdir(PRIVATE_FOLDER, exist_ok=True)
        write_file(path, data, root=inputs)

    def read_input(self, job_id: str, name: str) -> bytes:
        return (self._folder("inputs", job_id) / name).read_bytes()

    def part(self, job_id: str, attempt: int, suffix: str) -> Path:
        """Return where an attempt writes its output; `publish` it when it is whole.

        What earlier attempts left goes, whole or not; the file is there at once, so that an earlier
        attempt that is still about cannot take the folder away.
        """
        folder = self._folder("videos", job_id)
        path = folder / f"{attempt}.part{suffix}"
        while not path.exists():
            self._kind("videos", SHARED_FOLDER)
            with suppress(FileNotFoundError):  # somebody removed the folder in between
                folder.mkdir(self._result(SHARED_FOLDER), exist_ok=True)
                path.touch(self._result(SHARED))
        for left in folder.iterdir():
            if _attempt(left.name) < attempt:
                left.unlink(missing_ok=True)
        return path

    def publish(self, part: Path) -> Path:
        """Give a finished part its name."""
        path = part.with_name(part.name.replace(".part", ""))
        return publish(part, path, self._root / "videos", self._result(SHARED))

    def put_preview(self, job_id: str, data: bytes) -> None:
        """Replace the preview of a job that runs; it is gone after a power cut, as it should be."""
        path = self._preview(job_id)
        self._kind("previews", PRIVATE_FOLDER)
        write_file(path, data)

    def preview(self, job_id: str) -> bytes | None:
        """Return the newest preview of a job that runs, a JPEG; None if there is none."""
        try:
            return self._preview(job_id).read_bytes()
        except FileNotFoundError:
            return None

    def drop_preview(self, job_id: str) -> None:
        """Remove a job's preview, and what a killed engine left of one half written."""
        path = self._preview(job_id)
        for left in path.parent.glob(f"{job_id}.*"):
            left.unlink(missing_ok=True)

    def _preview(self, job_id: str) -> Path:
        return self._folder("previews", job_id).with_suffix(".jpg")

    def output(self, job: Job) -> Path | None:
        """Return the file of a completed job, None if it is gone or no longer whole."""
        if job.artifact is None:
            return None
        path = self._folder("videos", job.id) / job.artifact.name
        try:
            return path if path.stat().st_size == job.artifact.size else None
        except FileNotFoundError:
            return None

    def derived_file(self, output: Path, suffix: str, make: Callable[[], bytes], owner: str = "") -> Path:
        """Return the file beside a job's output that holds what `make` returns, made when it is first asked for.

        It goes when the job goes. Raises `FileNotFoundError` when that happens meanwhile. Few are made at a time,
        one of an `owner`; raises `TooManyWaiters` where too many wait for theirs.
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
        """Remove an output that lost its job, and the job's folder if that was all."""
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another attempt's file is in it
            path.parent.rmdir()

    def trim(self, job_id: str, output: str | None) -> None:
        """Remove the preview, and what other attempts than that of `output` have left."""
        self.drop_preview(job_id)
        for path in _inside(self._folder("videos", job_id)):
            if _attempt(path.name) != _kept(output):
                self.discard(path)

    def touch(self, output: Path) -> None:
        """Note that somebody reads it now: what is read stays longest. A disk may keep no such times by itself."""
        with suppress(OSError):  # it is gone, or its disk is read-only
            os.utime(output, (time.time(), output.stat().st_mtime))

    def usage(self) -> Mapping[str, Usage]:
        """Return what each job takes that has any file."""
        found: dict[str, Usage] = {}
        for kind in ("inputs", "videos", "previews"):
            for path in _inside(self._root / kind):
                job_id = path.name.partition(".")[0]
                if JOB_ID.fullmatch(job_id):
                    with suppress(FileNotFoundError):  # deleted this very moment
                        found[job_id] = _usage(path, is_output=kind != "inputs") | found.get(job_id, Usage())
        return found

    def delete(self, job_id: str) -> None:
        """Remove everything of a job; a power cut brings nothing back, nor a preview that went before."""
        self.drop_preview(job_id)
        for kind in ("inputs", "videos", "previews"):
            shutil.rmtree(self._folder(kind, job_id), ignore_errors=True)
            with suppress(OSError):  # no such folder yet, or a disk that fails: what comes back is an orphan
                sync_folder(self._root / kind)

    def _kind(self, name: str, mode: int) -> Path:
        """Return a folder of the root, made if it is missing; its name is on the disk."""
        folder = self._root / name
        if name not in self._durable or not folder.is_dir():
            make_folder(self._root)
            make_folder(folder, self._result(mode))
            sync_folder(self._root)  # where another process has made it, this moment
            self._durable.add(name)
        return folder

    def _result(self, shared: int) -> int:
        """Return the permissions of a result, which are `shared` with the group that may look into the data folder."""
        is_open = self._root.stat().st_mode & stat.S_IXGRP
        return shared if is_open else shared & (PRIVATE | PRIVATE_FOLDER)

    def _folder(self, kind: str, job_id: str) -> Path:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"a job id is 32 hexadecimal digits, got {job_id!r}")
        return self._root / kind / job_id


def _usage(path: Path, *, is_output: bool) -> Usage:
    """Return what a file, or a folder with all in it, takes."""
    stat = path.stat()
    if not path.is_dir():
        outputs = frozenset({(path.name, stat.st_size)} if is_output else ())
        return Usage(stat.st_size, stat.st_mtime, max(stat.st_atime, stat.st_mtime), outputs)
    use = Usage(changed_at=stat.st_mtime)
    for inner in _inside(path):
        use |= _usage(inner, is_output=is_output)
    return use


def _attempt(name: str) -> int:
    """Return which attempt a file of an output is of; 0 where its name does not say."""
    number = name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _kept(output: str | None) -> int:
    """Return the attempt whose files stay; -1 where none do."""
    return _attempt(output) if output else -1


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
