"""The errors of the API document, in groups."""

from __future__ import annotations

from router import errors
from router.errors import HttpError, InvalidRequest, Unavailable
from router.web.openapi.operations import Problem

BAD_VALUE = Problem(InvalidRequest, "invalid_value", "a field has the wrong type or value")
NOT_FOUND = Problem(errors.UnknownJob, "not_found", "there is none of this name, or it was deleted")
UNKNOWN_MODEL = Problem(errors.UnknownModel, "model_not_found", "no model is called so")
NOT_READY = Problem(
    errors.NotReady, "not_ready", "there is no such file, or not yet; ask again later", ("x-should-retry",)
)
NO_RANGE = Problem(
    errors.RangeNotSatisfiable, "range_not_satisfiable", "the file ends before the range begins", ("content-range",)
)
BAD_FORM = Problem(InvalidRequest, "invalid_form", "the body is no form")
TOO_MANY_WAITERS = Problem(
    errors.TooManyWaiters, "too_many_waiters", "too many requests wait already: use `background`", ("retry-after",)
)
RESTARTING = Problem(errors.Restarting, "restarting", "the server is stopping", ("retry-after", "x-should-retry"))

OTHER_HOST = Problem(errors.Refused, "refused", "nobody needs a key, and the request names a host or a page of others")

EVERYWHERE = (Problem(HttpError, "internal_error", "something went wrong in the server"),)
CALLING = (  # whatever is not open to all
    Problem(errors.Unauthorized, "invalid_api_key", "there is no key, or one that is not good", ("www-authenticate",)),
    Problem(
        errors.Refused,
        "refused",
        "the key lacks a scope, a policy of the server says no, or the request names a host or a page of others",
    ),
    Problem(
        errors.RateLimited, "rate_limit_exceeded", "the key has too much queued or calls too often", ("retry-after",)
    ),
)
WRITING = (
    Problem(Unavailable, "disk_full", "the server's disk is full", ("retry-after",)),
    Problem(Unavailable, "store_unavailable", "nothing can be stored for the moment", ("retry-after",)),
)
BODY = (
    Problem(InvalidRequest, "invalid_json", "the body is no JSON object"),
    BAD_VALUE,
    Problem(InvalidRequest, "unknown_parameter", "there is no such field"),
    Problem(InvalidRequest, "missing_required_parameter", "there is no prompt"),
    Problem(errors.TooLarge, "body_too_large", "the body is larger than the server takes"),
    Problem(errors.UnsupportedMedia, "unsupported_media_type", "the body is neither JSON nor, for a video, a form"),
)
MAKING = (
    *BODY,
    Problem(errors.ModalityMismatch, "modality_mismatch", "the model does not take these inputs"),
    Problem(errors.LimitExceeded, "limit_exceeded", "more than the model's limit on pixels, frames, steps or prompt"),
    Problem(InvalidRequest, "invalid_image", "an image cannot be fetched or read, or is too large"),
    Problem(InvalidRequest, "image_url_refused", "an image's address is one that this server does not fetch from"),
    UNKNOWN_MODEL,
    Problem(errors.KeyReused, "idempotency_key_reuse", "the key was used for another request"),
    Problem(errors.QueueFull, "queue_full", "too many jobs wait already", ("retry-after",)),
    Problem(errors.ModelUnavailable, "model_unavailable", "no engine runs this model, or its weights are not there"),
    *WRITING,
)
WAITING = (TOO_MANY_WAITERS, RESTARTING)
FAILING = tuple(
    Problem(HttpError, kind.code, about, ("x-should-retry",))
    for kind, about in (
        (errors.LoadFailed, "the model could not be loaded"),
        (errors.DownloadFailed, "its weights could not be fetched"),
        (errors.GenerationFailed, "the model failed"),
        (errors.OutOfMemory, "the device has too little memory"),
        (errors.NumericalError, "the model made no picture but NaN"),
        (errors.TimedOut, "it took too long"),
        (errors.DiskFull, "the engine's disk is full"),
        (errors.EngineLost, "the engine that ran it died, as often as a job may be tried"),
    )
)
