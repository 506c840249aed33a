"""A plugin out of service: the reason, and advice."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.backends import Lost

MOST_BYTES = 2**20  # of a source file that is searched for hooks
REFUSING = re.compile(r"\bconfigure_app\b")  # authentication is added with it
POLICY, BACKEND = re.compile(r"\bcheck_request\b"), re.compile(r"\bdeclare_backend\b")


@dataclass(frozen=True)
class BrokenPlugin:
    """The substitute of a plugin that cannot be loaded, or does not fit.

    `name` is for callers; `origin`, `reason` and `advice` are for the operator. A plugin that `guards` may have refused
    requests, which a web half without it would let in. `backend` is the name it declared, None if unknown.
    """

    name: str
    origin: str
    reason: str
    advice: str
    guards: bool
    backend: str | None = None

    def __str__(self) -> str:
        return f"the plugin {self.origin} is out of service: {self.reason}; {self.advice}"

    @property
    def lost(self) -> Lost:
        """The note for models whose backend this plugin may have declared."""
        return Lost(self.name, f"the plugin {self.name} could not be loaded", str(self), self.backend)


def guards(sources: Iterable[Path]) -> bool:
    """Return whether a plugin of these sources may have refused requests.

    A backend's `check_request` is called for its own models only, and they are refused anyway.
    """
    text = "\n".join(map(_text, sources))
    return bool(REFUSING.search(text)) or (bool(POLICY.search(text)) and not BACKEND.search(text))


def summary(error: BaseException) -> str:
    """Return an exception in one line."""
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")
    return ""
