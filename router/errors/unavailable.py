"""The server's errors that pass."""

from __future__ import annotations

from router.errors.root import HttpError


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
