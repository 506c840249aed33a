"""Everything that can go wrong, and whose fault it is.

RouterError
  x RequestError     the caller's; becomes HTTP
    + InvalidRequest, ModalityMismatch, LimitExceeded        400
    + Unauthorized 401   Refused 403
    + UnknownModel, UnknownJob, NotReady                     404
    + NotAllowed 405   TooLarge 413   UnsupportedMedia 415   RangeNotSatisfiable 416   KeyReused 422
  x Unavailable      ours, for now
    + QueueFull, TooManyWaiters, RateLimited                 429
    + ModelUnavailable, Restarting                           503
  x EngineError      becomes the job's `error`
    + LoadFailed   DownloadFailed   GenerationFailed   OutOfMemory   NumericalError
    + TimedOut   DiskFull   EngineLost
  x JobCancelled     stops a backend at its next report
  x DeviceLost       ends the engine process; its job is tried again on a fresh one
  x BootError        the house cannot open: a setting, plugin or device is wrong; ends the process

A message says what is, what was needed, what was got. `message` of a RequestError, Unavailable or
EngineError is shown to the caller; the text of any other exception never is.
"""

from __future__ import annotations

import errno
import sqlite3

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EROFS, errno.EIO)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNUSABLE = (
    *DAMAGED,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOLFS,
)


class RouterError(Exception):
    """The root of what this package raises on purpose."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class HttpError(RouterError):
    """An error that ends a request: its status, type and code in the error body, and its headers."""

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(
        self, message: str, *, param: str = "", code: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or type(self).code
        self.headers = headers


class RequestError(HttpError):
    """The caller's: sending the same request again gives the same answer."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(RequestError):
    """A field is wrong; `code` says how."""

    code = "invalid_value"


class ModalityMismatch(RequestError):
    """The model does not take these inputs."""

    code = "modality_mismatch"


class LimitExceeded(RequestError):
    """More than the model's limit on pixels, frames, steps or prompt."""

    code = "limit_exceeded"


class Unauthorized(RequestError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Refused(RequestError):
    """A policy says no."""

    status = 403
    type = "permission_error"
    code = "refused"


class UnknownModel(RequestError):
    status = 404
    type = "not_found_error"
    code = "model_not_found"


class UnknownJob(RequestError):
    """No such job or path, or somebody else's."""

    status = 404
    type = "not_found_error"
    code = "not_found"


class NotReady(RequestError):
    """Content asked for before it is there; clients must not retry by themselves."""

    status = 404
    code = "not_ready"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers=(("x-should-retry", "false"),))


class NotAllowed(RequestError):
    status = 405
    code = "method_not_allowed"


class TooLarge(RequestError):
    status = 413
    code = "body_too_large"


class UnsupportedMedia(RequestError):
    status = 415
    code = "unsupported_media_type"


class RangeNotSatisfiable(RequestError):
    status = 416
    code = "range_not_satisfiable"


class KeyReused(RequestError):
    status = 422
    code = "idempotency_key_reuse"


class Unavailable(HttpError):
    """Ours, for now: the same request may succeed later."""

    status = 503


class QueueFull(Unavailable):
    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class TooManyWaiters(Unavailable):
    status = 429
    type = "rate_limit_error"
    code = "too_many_waiters"


class RateLimited(Unavailable):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"


class Restarting(Unavailable):
    code = "restarting"


class EngineError(RouterError):
    """A job cannot be done; `code` and the message become its `error`."""

    code = "generation_failed"


class LoadFailed(EngineError):
    code = "load_failed"


class DownloadFailed(EngineError):
    code = "download_failed"


class GenerationFailed(EngineError):
    code = "generation_failed"


class OutOfMemory(EngineError):
    code = "out_of_memory"


class NumericalError(EngineError):
    """The model produced NaN or infinity."""

    code = "numerical_error"


def is_disk_full(error: BaseException) -> bool:
    """Say whether the disk had no room: the file system's own error, or what SQLite makes of it."""
    return (isinstance(error, OSError) and error.errno in FULL) or _sqlite_code(error) == sqlite3.SQLITE_FULL


def wants_room(error: BaseException) -> bool:
    """Say whether more room on the disk may help: SQLite takes a quota that is used up for a broken disk."""
    return is_disk_full(error) or _sqlite_code(error) == sqlite3.SQLITE_IOERR


def is_unwritable(error: BaseException) -> bool:
    """Say whether nobody can write now: the disk is read-only or broken, the store locked, damaged or gone."""
    return (isinstance(error, OSError) and error.errno in UNWRITABLE) or _sqlite_code(error) in UNUSABLE


def is_damaged(error: BaseException) -> bool:
    """Say whether the store's file is no database any more."""
    return _sqlite_code(error) in DAMAGED


def reason(error: BaseException) -> str:
    """Return what the driver or the system says; of SQLAlchemy's errors without statement and values."""
    return str(getattr(error, "orig", None) or error)


def _sqlite_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code, None for any other error."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


class TimedOut(EngineError):
    """The job ran for longer than it may, or its engine hung, as often as a job may be tried."""

    code = "timed_out"


class DiskFull(EngineError):
    code = "disk_full"


class EngineLost(EngineError):
    """The engine that ran the job died, as often as a job may be tried."""

    code = "engine_lost"


class JobCancelled(RouterError):
    """The job is no longer ours: cancelled, deleted, or taken over. Stops a backend at its next report."""


class DeviceLost(RouterError):
    """The device answers nothing any more (a CUDA error that is not about memory): only a new process helps."""


class BootError(RouterError):
    """A setting, a plugin or a device is wrong; the process says so and ends before it serves anything."""
