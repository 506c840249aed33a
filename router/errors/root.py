"""The roots of the errors."""

from __future__ import annotations


class RouterError(Exception):
    """The root of what this package raises on purpose."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class HttpError(RouterError):
    """An error that ends a request, with the status and headers of its answer.

    `type`, `code` and `param`, the field that it is about, stand in the error body.
    """

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


class BootError(RouterError):
    """A setting, plugin or device is wrong; the process ends before it serves."""
