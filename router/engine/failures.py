"""Failures of jobs as their callers may know them."""

import errno

from router.errors import DiskFull, EngineError, GenerationFailed, OutOfMemory, is_disk_full, is_unwritable
from router.values import Failure, Phase

MOST_CHARACTERS = 1000


def cause_of(error: Exception) -> str | None:
    """Return the exception for administrators, None where the failure says all of it."""
    return None if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"[:MOST_CHARACTERS]


def failure_of(error: Exception, phase: Phase) -> Failure:
    """Return the failure as the caller may know it."""
    # of our own errors that is the message, of all others the phase: a stranger's text may name paths or secrets
    if isinstance(error, EngineError):
        return Failure(error.code, error.message)
    if is_disk_full(error):
        return Failure(DiskFull.code, "the server's disk is full")
    if is_unwritable(error):
        what = "is read-only" if getattr(error, "errno", None) == errno.EROFS else "failed"
        return Failure(GenerationFailed.code, f"the video could not be written: the server's disk {what}")
    if isinstance(error, MemoryError):
        return Failure(OutOfMemory.code, "the server ran out of memory: ask for fewer frames or a smaller size")
    if phase in (Phase.LOAD, Phase.DOWNLOAD):
        return Failure("load_failed", "the model could not be loaded; the server's log has the reason")
    return Failure(GenerationFailed.code, "the video could not be generated; the server's log has the reason")
