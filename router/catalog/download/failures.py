"""Errors of the hub's client: their messages, and retries of the temporary ones."""

import os
from collections.abc import Callable
from threading import Event
from typing import TypeVar

PASSING = {408, 429, 500, 502, 503, 504}
TOKEN = "set HF_TOKEN to a token that may read it"
# seconds before each retry; after as many retries without progress the download fails
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
Result = TypeVar("Result")


class ConnectionCut(Exception):
    """A response ended before its file."""


class WrongFile(Exception):
    """A file differs from the hub's listing."""


class Stopped(Exception):
    """Another file's failure has ended the download."""


def errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a hub call and of writing its files."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HFValidationError

    return (HTTPError, HFValidationError, OSError, ConnectionCut, WrongFile)  # the client's other errors are OSErrors


def may_pass(error: Exception) -> bool:
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, (TransportError, LocalEntryNotFoundError, ConnectionCut))


def cannot_ask(error: Exception) -> bool:
    """Return whether the hub is unreachable or HF_HUB_OFFLINE is set."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    return may_pass(error) or isinstance(error, OfflineModeIsEnabled)


def reason(error: BaseException, revision: str | None) -> str:
    """Return one sentence: why the hub did not deliver `revision` of a repository."""
    from httpx2 import ConnectError, TimeoutException, TransportError
    from huggingface_hub import errors as hub

    if isinstance(error, hub.LocalEntryNotFoundError) and error.__cause__ is not None:
        return reason(error.__cause__, revision)
    if isinstance(error, hub.GatedRepoError):
        return f"it is gated: accept its terms on the hub's page of it, and {TOKEN}"
    if isinstance(error, hub.RevisionNotFoundError):
        return f"the hub has no revision {revision or 'main'} of it"
    if isinstance(error, hub.RepositoryNotFoundError):
        return f"the hub has no such repository, or it is private: check the name, or {TOKEN}"
    if isinstance(error, hub.HfHubHTTPError):
        return _refusal(error.response.status_code, str(error.response.url.path))
    if isinstance(error, ConnectError):
        return "the hub cannot be reached"
    if isinstance(error, TimeoutException):
        return "the hub did not answer in time (HF_HUB_DOWNLOAD_TIMEOUT sets how many seconds it has)"
    if isinstance(error, (TransportError, ConnectionCut)):
        return "the connection broke again and again"
    if isinstance(error, WrongFile):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}" + (f" ({_name(error)})" if error.filename else "")
    first, *_ = [*str(error).strip().splitlines(), ""]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _name(error: OSError) -> str:
    # callers must not learn paths of this machine
    return os.path.basename(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else "a file"


def _refusal(status: int, path: str) -> str:
    message = f"the hub answered {status} to the request for {path.rpartition('/')[2]}"
    return f"{message}: {TOKEN}" if status in (401, 403) else message


class Retrier:
    """Retries calls to the hub, until `stop`."""

    def __init__(self, pauses: tuple[float, ...] = PAUSES) -> None:
        self._pauses = pauses
        self._stop = Event()

    def stop(self) -> None:
        """End all retries, waiting ones included."""
        self._stop.set()

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def try_again(self, attempt: Callable[[], Result], moved: Callable[[], int] = lambda: 0) -> Result:
        """Return the result of `attempt`, retried while `moved` grows or pauses remain."""
        failures, before = 0, moved()
        while True:
            try:
                return attempt()
            except errors() as error:
                failures = 0 if moved() > before else failures
                before = moved()
                if not may_pass(error) or failures == len(self._pauses):
                    raise
            self._stop.wait(self._pauses[failures])
            self.check()
            failures += 1
