"""A plugin that is out of service: why, what to do, and whether the server may do without it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.backends import Lost

MOST_BYTES = 2**20  # of a source that is searched for hooks
REFUSING = re.compile(r"\bconfigure_app\b")  # authentication is added with it
POLICY, BACKEND = re.compile(r"\bcheck_request\b"), re.compile(r"\bdeclare_backend\b")


@dataclass(frozen=True)
class BrokenPlugin:
    """What stands in a plugin's place where it cannot be loaded, or does not fit.

    `name` is for callers; `origin`, `reason` and `advice` are the operator's. One that `guards` may have refused
    requests: a web half without it would let them in. `backend` is what it declared, None where nobody knows.
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
        """What the registry says of a model whose backend this may have been."""
        return Lost(self.name, f"the plugin {self.name} could not be loaded", str(self), self.backend)


def guards(sources: Iterable[Path]) -> bool:
    """Say whether a plugin of these sources, which cannot be asked, may have refused requests.

    A backend's `check_request` hears of its own models only, and they are refused anyway.
    """
    text = "\n".join(map(_text, sources))
    return bool(REFUSING.search(text)) or (bool(POLICY.search(text)) and not BACKEND.search(text))


def summary(error: BaseException) -> str:
    """Return an exception in one line."""
    said = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _text(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")
    return ""
