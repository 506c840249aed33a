"""The caller's errors."""

from __future__ import annotations

from router.errors.root import HttpError


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
    """A job's content is not there yet; clients must not retry by themselves."""

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
