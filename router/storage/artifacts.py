"""The artifact store: inputs and outputs of jobs, each file whole or absent."""

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from router.errors import TooManyWaiters, is_disk_full
from router.runtime.fair_slots import Slots
from router.runtime.files import PRIVATE, PRIVATE_FOLDER, make_folder, publish, sync_folder, write_file
from router.storage.usage import Usage, attempt, attempt_of, entries, usage_of
from router.values import Job

SHARED, SHARED_FOLDER = 0o640, 0o750  # of results if the group may enter the data folder, as nginx must
MAKERS = 2  # threads that make derived files: a sprite sheet of a long video takes a core for a second
MAX_QUEUED, WAIT_SECONDS = 64, 10.0  # requests for derived files
Removed = TypeVar("Removed")
JOB_ID = re.compile(r"[0-9a-f]{32}")


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
        path = self._folder("inputs", job_id) / name
        inputs = self._durable_folder("inputs", PRIVATE_FOLDER)
        path.parent.mkdir(PRIVATE_FOLDER, exist_ok=True)
        write_file(path, data, root=inputs)

    def read_input(self, job_id: str, name: str) -> bytes:
        return (self._folder("inputs", job_id) / name).read_bytes()

    def part(self, job_id: str, number: int, suffix: str) -> Path:
        """Return an attempt's empty file, to `publish` when complete; remove those of earlier attempts."""
        # the file exists at once, so that an earlier attempt that still runs cannot remove the folder
        folder = self._folder("videos", job_id)
        path = folder / f"{number}.part{suffix}"
        while not path.exists():
            self._durable_folder("videos", SHARED_FOLDER)
            with suppress(FileNotFoundError):  # the folder was removed in between
                folder.mkdir(self._result_mode(SHARED_FOLDER), exist_ok=True)
                path.touch(self._result_mode(SHARED))
        for left in folder.iterdir():
            if attempt(left.name) < number:
                left.unlink(missing_ok=True)
        return path

    def publish(self, part: Path) -> Path:
        path = part.with_name(part.name.replace(".part", ""))
        return publish(part, path, self._root / "videos", self._result_mode(SHARED))

    def put_preview(self, job_id: str, data: bytes) -> None:
        path = self._preview(job_id)
        self._durable_folder("previews", PRIVATE_FOLDER)
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
        """Return a file derived from a job's output, made at the first call.

        It is deleted with the job; raises `FileNotFoundError` if that happens meanwhile. Few are made at a time, one of
        an `owner`; raises `TooManyWaiters` with too many in the queue.
        """
        path = output.with_suffix(suffix)
        if path.is_file():
            return path
        with self._makers.take(owner) as taken:
            if not taken:
                raise TooManyWaiters("many small pictures of videos are being made; send this request again later")
            if path.is_file():
                return path
            return write_file(path, make(), mode=self._result_mode(SHARED), root=path.parent)

    def discard(self, path: Path) -> None:
        """Remove an output without its job, and the folder if it is empty."""
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another attempt's file is in it
            path.parent.rmdir()

    def trim(self, job_id: str, output: str | None) -> None:
        """Remove the preview and files of other attempts than `output`'s."""
        self.drop_preview(job_id)
        for path in entries(self._folder("videos", job_id)):
            if attempt(path.name) != attempt_of(output):
                self.discard(path)

    def touch(self, output: Path) -> None:
        """Note the time of a read; retention removes the files read longest ago."""
        # by hand, as most disks are mounted without access times
        with suppress(OSError):  # the file is gone, or its disk is read-only
            os.utime(output, (time.time(), output.stat().st_mtime))

    def usage(self) -> Mapping[str, Usage]:
        found: dict[str, Usage] = {}
        for kind in ("inputs", "videos", "previews"):
            for path in entries(self._root / kind):
                job_id = path.name.partition(".")[0]
                if JOB_ID.fullmatch(job_id):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        found[job_id] = usage_of(path, is_output=kind != "inputs") | found.get(job_id, Usage())
        return found

    def delete(self, job_id: str) -> None:
        """Remove all files of a job durably, also an older preview."""
        self.drop_preview(job_id)
        for kind in ("inputs", "videos", "previews"):
            shutil.rmtree(self._folder(kind, job_id), ignore_errors=True)
            with suppress(OSError):  # no such folder yet, or a broken disk: restored files are orphans
                sync_folder(self._root / kind)

    def _durable_folder(self, name: str, mode: int) -> Path:
        folder = self._root / name
        if name not in self._durable or not folder.is_dir():
            make_folder(self._root)
            make_folder(folder, self._result_mode(mode))
            sync_folder(self._root)  # another process that has just made it may not have synced it yet
            self._durable.add(name)
        return folder

    def _result_mode(self, shared: int) -> int:
        """Return a result's permissions: `shared` if the group may enter the data folder."""
        is_open = self._root.stat().st_mode & stat.S_IXGRP
        return shared if is_open else shared & (PRIVATE | PRIVATE_FOLDER)

    def _folder(self, kind: str, job_id: str) -> Path:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"a job id is 32 hexadecimal digits, got {job_id!r}")
        return self._root / kind / job_id


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(
    artifacts: ArtifactStore, job_id: str, row: Callable[[], Removed], *, allowed: Callable[[], bool]
) -> Removed:
    """Remove a job's row, then its files; return what `row` returns.

    On a disk too full to remove the row the files go first, if that is `allowed`.
    """
    try:
        removed = row()  # after a crash here the files are orphans, which the sweeper removes
    except SQLAlchemyError as error:
        if not (is_disk_full(error) and allowed()):
            raise
        artifacts.delete(job_id)  # after a crash here the row is not served, and the sweeper removes it
        removed = row()
    if removed:
        artifacts.delete(job_id)
    return removed
