"""The tree of errors.

RouterError
  x RequestError     the caller's; becomes HTTP
    + InvalidRequest, ModalityMismatch, LimitExceeded        400
    + Unauthorized 401   Refused 403
    + UnknownModel, UnknownJob, NotReady                     404
    + NotAllowed 405   TooLarge 413   UnsupportedMedia 415   RangeNotSatisfiable 416   KeyReused 422
  x Unavailable      ours, for now
    + QueueFull, TooManyWaiters, RateLimited, QuotaExceeded  429
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

from router.errors.storage import is_damaged, is_disk_full, is_outage, is_unwritable, may_be_disk_full, reason

Headers = tuple[tuple[str, str], ...]


class RouterError(Exception):
    """The root of what this package raises on purpose."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class HttpError(RouterError):
    """An error that ends a request, with the status and headers of its answer.

    `type`, `code` and `param`, the field that it is about, stand in the error body.
    """

    status, type, code = 500, "server_error", "internal_error"
    headers: Headers = ()

    def __init__(self, message: str, *, param: str = "", code: str | None = None, headers: Headers = ()) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.code
        self.headers = headers or self.headers


class RequestError(HttpError):
    """The caller's: sending the same request again gives the same answer."""

    status, type = 400, "invalid_request_error"


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
    """The request has no valid key."""

    status, type, code = 401, "authentication_error", "invalid_api_key"


class Refused(RequestError):
    """A policy says no."""

    status, type, code = 403, "permission_error", "refused"


class UnknownModel(RequestError):
    status, type, code = 404, "not_found_error", "model_not_found"


class UnknownJob(RequestError):
    """No such job or path, or somebody else's."""

    status, type, code = 404, "not_found_error", "not_found"


class NotReady(RequestError):
    """A job's content is not there yet; clients must not retry by themselves."""

    status, code = 404, "not_ready"
    headers = (("x-should-retry", "false"),)


class NotAllowed(RequestError):
    status, code = 405, "method_not_allowed"


class TooLarge(RequestError):
    status, code = 413, "body_too_large"


class UnsupportedMedia(RequestError):
    status, code = 415, "unsupported_media_type"


class RangeNotSatisfiable(RequestError):
    status, code = 416, "range_not_satisfiable"


class KeyReused(RequestError):
    status, code = 422, "idempotency_key_reuse"


class Unavailable(HttpError):
    """Ours, for now: the same request may succeed later."""

    status = 503


class QueueFull(Unavailable):
    status, type, code = 429, "rate_limit_error", "queue_full"


class TooManyWaiters(Unavailable):
    status, type, code = 429, "rate_limit_error", "too_many_waiters"
    headers = (("retry-after", "5"),)


class RateLimited(Unavailable):
    """The caller has sent too many requests for now."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class QuotaExceeded(RateLimited):
    code, headers = "insufficient_quota", (("x-should-retry", "false"),)  # a budget's window may end in days


class ModelUnavailable(Unavailable):
    """No engine runs the model, or its weights are missing."""

    headers = (("x-should-retry", "false"),)
    code = "model_unavailable"


class Restarting(Unavailable):
    code = "restarting"


class EngineError(RouterError):
    """A job cannot be done; `code` and the message become its `error`."""

    code = "generation_failed"


class LoadFailed(EngineError):
    """The model cannot be loaded; the message names what is missing."""

    code = "load_failed"


class DownloadFailed(EngineError):
    code = "download_failed"


class GenerationFailed(EngineError):
    """The video cannot be made; the message says why."""

    code = "generation_failed"


class OutOfMemory(EngineError):
    """The device has too little memory for this job."""

    code = "out_of_memory"


class NumericalError(EngineError):
    """The model produced NaN or infinity."""

    code = "numerical_error"


class TimedOut(EngineError):
    """A job exceeded its time limit, or its engine hung at every attempt."""

    code = "timed_out"


class DiskFull(EngineError):
    code = "disk_full"


class EngineLost(EngineError):
    """The engine died at every attempt at the job."""

    code = "engine_lost"


class JobCancelled(RouterError):
    """The job was cancelled, deleted or taken over; stops the backend's next report."""


class DeviceLost(RouterError):
    """The device fails at every call; only a new process helps."""  # such as a CUDA error that is not about memory


class BootError(RouterError):
    """A setting, plugin or device is wrong; the process ends before it serves."""
