"""The artifact store: inputs and outputs, each file whole or absent, each belonging to one job."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Semaphore

from router.values import Job

MAKERS = 2  # small pictures made at a time: a sheet of a long video takes a core for a second
JOB_ID = re.compile(r"[0-9a-f]{32}")


class ArtifactStore:
    """`inputs/<job>/<name>` are the bytes as received; `videos/<job>/<attempt>.mp4` (or `.png`) the results.

    Beside a result stand the small pictures of it that somebody asked for.

    `previews/<job>.jpg` is there while the job runs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._makers = Semaphore(MAKERS)

    def put_input(self, job_id: str, name: str, data: bytes) -> None:
        """Store one input durably."""
        path = self._folder("inputs", job_id) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with open(part, "wb") as file:
            file.write(data)
        publish(part, path)

    def read_input(self, job_id: str, name: str) -> bytes:
        return (self._folder("inputs", job_id) / name).read_bytes()

    def part(self, job_id: str, attempt: int, suffix: str) -> Path:
        """Return where an attempt writes its output; `publish` it when it is whole.

        What an earlier attempt left half written goes; the file is there at once, so that an earlier
        attempt that is still about cannot take the folder away.
        """
        folder = self._folder("videos", job_id)
        path = folder / f"{attempt}.part{suffix}"
        while not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # somebody removed the folder in between
                path.touch()
        for left in folder.glob("*.part*"):
            if int(left.name.partition(".")[0]) < attempt:
                left.unlink(missing_ok=True)
        return path

    def publish(self, part: Path) -> Path:
        """Give a finished part its name."""
        return publish(part, part.with_name(part.name.replace(".part", "")))

    def put_preview(self, job_id: str, data: bytes) -> None:
        """Replace the preview of a job that runs; it is gone after a power cut, as it should be."""
        path = self._preview(job_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(path)

    def preview(self, job_id: str) -> bytes | None:
        """Return the newest preview of a job that runs, a JPEG; None if there is none."""
        try:
            return self._preview(job_id).read_bytes()
        except FileNotFoundError:
            return None

    def drop_preview(self, job_id: str) -> None:
        self._preview(job_id).unlink(missing_ok=True)

    def _preview(self, job_id: str) -> Path:
        return self._folder("previews", job_id).with_suffix(".jpg")

    def output(self, job: Job) -> Path | None:
        """Return the file of a completed job, None if it is gone."""
        if job.artifact is None:
            return None
        path = self._folder("videos", job.id) / job.artifact.name
        return path if path.is_file() else None

    def beside(self, output: Path, suffix: str, make: Callable[[], bytes]) -> Path:
        """Return the file beside a job's output that holds what `make` returns, made when it is first asked for.

        It goes when the job goes. Raises `FileNotFoundError` when that happens meanwhile. Few are made at a time.
        """
        path = output.with_suffix(suffix)
        if path.is_file():
            return path
        with self._makers:
            return path if path.is_file() else self._keep(path, make())

    def discard(self, path: Path) -> None:
        """Remove an output that lost its job, and the job's folder if that was all."""
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another attempt's file is in it
            path.parent.rmdir()

    def delete(self, job_id: str) -> None:
        """Remove everything of a job."""
        self.drop_preview(job_id)
        for kind in ("inputs", "videos"):
            shutil.rmtree(self._folder(kind, job_id), ignore_errors=True)

    def _keep(self, path: Path, data: bytes) -> Path:
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")  # another process may be making the same
        try:
            part.write_bytes(data)
            return publish(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _folder(self, kind: str, job_id: str) -> Path:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"a job id is 32 hexadecimal digits, got {job_id!r}")
        return self._root / kind / job_id


def publish(part: Path, path: Path) -> Path:
    """Rename a whole file into place so that it survives a power cut."""
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
