"""The errors of the API document, in groups."""

from router import errors
from router.errors import HttpError, InvalidRequest, Unavailable
from router.web.openapi.operations import Problem


def _problem(kind: type[HttpError], about: str, *headers: str, code: str = "") -> Problem:
    return Problem(kind, code or kind.code, about, headers)


BAD_VALUE = _problem(InvalidRequest, "a field has the wrong type or value")
UNKNOWN_PARAMETER = _problem(InvalidRequest, "there is no such parameter", code="unknown_parameter")
NOT_FOUND = _problem(errors.UnknownJob, "there is none of this name, or it was deleted")
UNKNOWN_MODEL = _problem(errors.UnknownModel, "no model is called so")
NOT_READY = _problem(errors.NotReady, "there is no such file, or not yet; ask again later", "x-should-retry")
NO_RANGE = _problem(errors.RangeNotSatisfiable, "the file ends before the range begins", "content-range")
BAD_MODELS_FILE = _problem(InvalidRequest, "the models file cannot be served", code="invalid_models_file")
BAD_FORM = _problem(InvalidRequest, "the body is no form", code="invalid_form")
OTHER_HOST = _problem(errors.Refused, "nobody needs a key, and the request names a host or a page of others")

EVERYWHERE = (_problem(HttpError, "something went wrong in the server"),)
CALLING = (  # whatever is not open to all
    _problem(errors.Unauthorized, "there is no key, or one that is not good", "www-authenticate"),
    _problem(
        errors.Refused,
        "the key lacks a scope, a policy of the server says no, or the request names a host or a page of others",
    ),
    _problem(errors.RateLimited, "the key has too much queued or calls too often", "retry-after"),
)
WRITING = (
    _problem(Unavailable, "the server's disk is full", "retry-after", code="disk_full"),
    _problem(Unavailable, "nothing can be stored for the moment", "retry-after", code="store_unavailable"),
)
BODY = (
    _problem(InvalidRequest, "the body is no JSON object", code="invalid_json"),
    BAD_VALUE,
    _problem(InvalidRequest, "there is no such field", code="unknown_parameter"),
    _problem(InvalidRequest, "there is no prompt", code="missing_required_parameter"),
    _problem(errors.TooLarge, "the body is larger than the server takes"),
    _problem(errors.UnsupportedMedia, "the body is neither JSON nor, for a video, a form"),
)
ESTIMATING = (
    *BODY,
    _problem(errors.ModalityMismatch, "the model does not take these inputs"),
    _problem(errors.LimitExceeded, "more than the model's limit on pixels, frames, steps or prompt"),
    _problem(InvalidRequest, "an image cannot be fetched or read, or is too large", code="invalid_image"),
    _problem(
        InvalidRequest, "an image's address is one that this server does not fetch from", code="image_url_refused"
    ),
    UNKNOWN_MODEL,
    _problem(errors.QueueFull, "too many jobs wait already", "retry-after"),
    _problem(errors.QuotaExceeded, "a budget of the key or its owner does not cover the request", "x-should-retry"),
    _problem(errors.ModelUnavailable, "no engine runs this model, or its weights are not there", "x-should-retry"),
    *WRITING,
)
MAKING = (*ESTIMATING, _problem(errors.KeyReused, "the key was used for another request"))
WAITING = (
    _problem(errors.TooManyWaiters, "too many requests wait already: use `background`", "retry-after"),
    _problem(errors.Restarting, "the server is stopping", "retry-after", "x-should-retry"),
)
ENDED = (
    _problem(HttpError, "the job was cancelled", "x-should-retry", code="cancelled"),
    _problem(Unavailable, "the longest wait is over and the job goes on", "x-should-retry", code="timed_out"),
)
FAILING = tuple(
    _problem(HttpError, about, "x-should-retry", code=kind.code)
    for kind, about in (
        (errors.LoadFailed, "the model could not be loaded"),
        (errors.DownloadFailed, "the model's weights could not be fetched"),
        (errors.GenerationFailed, "the model failed"),
        (errors.OutOfMemory, "the device has too little memory"),
        (errors.NumericalError, "the model made NaN or infinity"),
        (errors.TimedOut, "the job took too long, or hung its engine at every attempt"),
        (errors.DiskFull, "the engine's disk is full"),
        (errors.EngineLost, "the engine died at every attempt"),
    )
)
