"""Small pictures of a job that runs: the newest replaces the one before, and none outlives the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import cv2

from router.artifacts import ArtifactStore
from router.values import Pixels, Preview

SECONDS = 1.0  # between two previews
SIDE = 256  # the longer one, in pixels
log = logging.getLogger(__name__)


class Previews:
    """The previews of one attempt at a job."""

    def __init__(self, artifacts: ArtifactStore, job_id: str, now: Callable[[], float] = time.monotonic) -> None:
        self._artifacts = artifacts
        self._job = job_id
        self._now = now
        self._next = 0.0

    def show(self, preview: Preview) -> None:
        """Store a preview if one is due; a backend that cannot make one loses nothing else."""
        if self._now() < self._next:
            return
        try:
            self._artifacts.put_preview(self._job, _encoded(preview()))
        except Exception:
            log.exception("no preview for this job")
            self._next = float("inf")
        else:
            self._next = self._now() + SECONDS

    def clear(self) -> None:
        self._artifacts.drop_preview(self._job)


def _encoded(pixels: Pixels) -> bytes:
    """Return a JPEG of the picture, its longer side at `SIDE`; a WebP would take thirty times as long."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(pixels[..., ::-1], size, interpolation=cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", shown)
    if not done:
        raise ValueError(f"a preview must be uint8 of (height, width, 3), got {pixels.dtype} of {pixels.shape}")
    return data.tobytes()
