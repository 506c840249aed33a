"""Previews of a running job, of which the store has the newest one."""

import logging
import time
from collections.abc import Callable

from router.media.stills import preview_of
from router.storage.artifacts import ArtifactStore
from router.values import Preview

SECONDS = 1.0  # between two previews
log = logging.getLogger(__name__)


class Previews:
    """The previews of one attempt at a job."""

    def __init__(self, artifacts: ArtifactStore, job_id: str, now: Callable[[], float] = time.monotonic) -> None:
        self._artifacts = artifacts
        self._job = job_id
        self._now = now
        self._next = 0.0

    def show(self, preview: Preview) -> None:
        """Store a preview if one is due; an error ends the job's previews."""
        if self._now() < self._next:
            return
        try:
            self._artifacts.put_preview(self._job, preview_of(preview()))
        except Exception:
            log.exception("no preview for this job")
            self._next = float("inf")
        else:
            self._next = self._now() + SECONDS

    def clear(self) -> None:
        """Remove the preview; if that fails, the sweeper removes it later."""
        try:
            self._artifacts.drop_preview(self._job)
        except OSError as error:
            log.warning("the preview stays: %s", error)
