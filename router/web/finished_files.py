"""The files of finished jobs, and files derived from them."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from router.errors import NotReady
from router.system import System
from router.values import Artifact, Job, Status
from router.web.jobs import unknown

PNG = "png"
log = logging.getLogger(__name__)
IMAGE_FORMATS = (PNG, "jpeg", "webp")


class PresentedFile(NamedTuple):
    """A file in the format that its caller asked for."""

    path: Path
    media_type: str
    etag: str


class FinishedFiles:
    """Finds the files of finished jobs; `public` is the id that an error names."""

    def __init__(self, system: System) -> None:
        self._system = system

    def output(self, public: str, job: Job) -> tuple[Artifact, Path]:
        """Return a job's file as its engine wrote it; raise `NotReady` without one."""
        path = self._system.artifacts.output(job)
        if job.artifact is None or path is None:
            raise _not_ready(public, job)
        self._system.artifacts.touch(path)
        return job.artifact, path

    def presented(self, public: str, job: Job) -> PresentedFile:
        """Return a job's file, an image in the requested format; raises as `output`."""
        artifact, path = self.output(public, job)
        kind = format_of(job)
        if kind not in IMAGE_FORMATS[1:]:
            return PresentedFile(path, artifact.media_type, artifact.sha256)
        from router.media.stills import encoded  # with numpy, which most workers never need

        made = self.derived(public, job, path, f".image.{kind}", partial(encoded, path, f".{kind}"))
        return PresentedFile(made, f"image/{kind}", f"{artifact.sha256}-{kind}")

    def read(self, public: str, job: Job) -> bytes:
        """Return the bytes of the presented file; raise `UnknownJob` for a deleted one."""
        try:
            return self.presented(public, job).path.read_bytes()
        except FileNotFoundError:
            raise unknown(public) from None

    def derived(self, public: str, job: Job, output: Path, suffix: str, make: Callable[[], bytes]) -> Path:
        """Return a file derived from an output, made at its first request."""
        try:
            path = self._system.artifacts.derived_file(output, suffix, make, job.owner)
        except (ValueError, FileNotFoundError) as error:
            # deleted this very moment, it may still have some of its files
            if output.exists() and self._system.jobs.get(job.id, job.owner) is not None:
                log.error("%s was not made of %s: %s", suffix, public, error)
                raise NotReady(
                    f"{public} was completed, but its file is damaged: no picture can be made of it"
                ) from None
            raise unknown(public) from None
        if self._system.jobs.get(job.id, job.owner) is None:
            self._system.artifacts.delete(job.id)
            raise unknown(public)
        return path


def format_of(job: Job) -> str:
    """Return the format of a finished job's file, such as `mp4`."""
    made = job.artifact.media_type.partition("/")[2] if job.artifact else ""
    return job.presentation.file_format or made if made == PNG else made


def _not_ready(public: str, job: Job) -> NotReady:
    if job.status is Status.COMPLETED:
        return NotReady(f"{public} was completed, but its file is gone, or no longer whole")
    if not job.status.finished:
        return NotReady(f"{public} is not ready: its job is {job.status}")
    ended = "was cancelled" if job.status is Status.CANCELLED else f"has {job.status}"
    why = f": {job.failure.message}" if job.failure else ""
    return NotReady(f"{public} has no content, its job {ended}{why}")
