"""The tree of errors.

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
  x BootError        a setting, plugin or device is wrong; ends the process

A message says what is, what was needed, what was got. `message` of a RequestError, Unavailable or
EngineError is shown to the caller; the text of any other exception never is.
"""

from router.errors.engine import (
    DeviceLost,
    DiskFull,
    DownloadFailed,
    EngineError,
    EngineLost,
    GenerationFailed,
    JobCancelled,
    LoadFailed,
    NumericalError,
    OutOfMemory,
    TimedOut,
)
from router.errors.request import (
    InvalidRequest,
    KeyReused,
    LimitExceeded,
    ModalityMismatch,
    NotAllowed,
    NotReady,
    RangeNotSatisfiable,
    Refused,
    RequestError,
    TooLarge,
    Unauthorized,
    UnknownJob,
    UnknownModel,
    UnsupportedMedia,
)
from router.errors.root import BootError, HttpError, RouterError
from router.errors.storage import is_damaged, is_disk_full, is_unwritable, may_be_disk_full, reason
from router.errors.unavailable import (
    ModelUnavailable,
    QueueFull,
    RateLimited,
    Restarting,
    TooManyWaiters,
    Unavailable,
)

__all__ = [
    "BootError",
    "DeviceLost",
    "DiskFull",
    "DownloadFailed",
    "EngineError",
    "EngineLost",
    "GenerationFailed",
    "HttpError",
    "InvalidRequest",
    "JobCancelled",
    "KeyReused",
    "LimitExceeded",
    "LoadFailed",
    "ModalityMismatch",
    "ModelUnavailable",
    "NotAllowed",
    "NotReady",
    "NumericalError",
    "OutOfMemory",
    "QueueFull",
    "RangeNotSatisfiable",
    "RateLimited",
    "Refused",
    "RequestError",
    "Restarting",
    "RouterError",
    "TimedOut",
    "TooLarge",
    "TooManyWaiters",
    "Unauthorized",
    "Unavailable",
    "UnknownJob",
    "UnknownModel",
    "UnsupportedMedia",
    "is_damaged",
    "is_disk_full",
    "is_unwritable",
    "may_be_disk_full",
    "reason",
]
