"""The backends that entries may name, and why one may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from marshmallow import Schema

from registry.modality import Modality

AT_START = "--plugin or FRAMEGATE_PLUGINS names a plugin's file"
AT_RELOAD = "a new plugin is found at the next start"


class BackendInfo(Protocol):
    """The parts of a backend used by the registry; `router.Backend` has them."""

    @property
    def name(self) -> str: ...
    @property
    def modalities(self) -> frozenset[Modality]: ...
    @property
    def options(self) -> type[Schema] | None: ...
    @property
    def index(self) -> str | None: ...
    @property
    def runs_adapters(self) -> bool: ...
    @property
    def merged_by(self) -> str: ...


@dataclass(frozen=True)
class Lost:
    """A plugin that failed to load; callers may read `reason`, operators also `problem`.

    `backend` is the name of its backend, None if unknown.
    """

    name: str
    reason: str
    problem: str
    backend: str | None = None


@dataclass(frozen=True)
class Backends:
    """The available backends by name, the lost plugins, and advice for an unknown name."""

    found: Mapping[str, BackendInfo]
    lost: tuple[Lost, ...] = ()
    advice: str = AT_START

    @classmethod
    def of(cls, backends: Backends | Iterable[BackendInfo]) -> Backends:
        return backends if isinstance(backends, Backends) else cls({backend.name: backend for backend in backends})

    def may_have_brought(self, name: str) -> tuple[Lost, ...]:
        """Return the lost plugins that may provide the backend `name`."""
        if name in self.found:
            return ()
        known = [lost for lost in self.lost if lost.backend == name]
        unknown = [lost for lost in self.lost if lost.backend is None]
        alike = [lost for lost in unknown if _plain(lost.name) == _plain(name)]
        return tuple(known or alike or unknown)


def _plain(name: str) -> str:
    return name.rpartition(".")[2].replace("-", "_").lower()
