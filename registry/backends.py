"""The backends that entries may name, and why one may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from marshmallow import Schema

from registry.modality import Modality


class BackendInfo(Protocol):
    """What the registry must know of a backend; `router.Backend` has it."""

    @property
    def name(self) -> str: ...
    @property
    def modalities(self) -> frozenset[Modality]: ...
    @property
    def options(self) -> type[Schema] | None: ...
    @property
    def index(self) -> str | None: ...


@dataclass(frozen=True)
class Lost:
    """What would have brought a backend: a caller may read `reason`, `problem` is the operator's.

    `backend` is its name, None where nobody knows it.
    """

    name: str
    reason: str
    problem: str
    backend: str | None = None


@dataclass(frozen=True)
class Backends:
    """The backends by name, and what was to bring others."""

    found: Mapping[str, BackendInfo]
    lost: tuple[Lost, ...] = ()

    @classmethod
    def of(cls, backends: Backends | Iterable[BackendInfo]) -> Backends:
        return backends if isinstance(backends, Backends) else cls({backend.name: backend for backend in backends})

    def may_have_brought(self, name: str) -> tuple[Lost, ...]:
        """Return what was lost and may have brought the backend `name`: what is called so, else all that may."""
        if name in self.found:
            return ()
        known = [lost for lost in self.lost if lost.backend == name]
        unknown = [lost for lost in self.lost if lost.backend is None]
        alike = [lost for lost in unknown if _plain(lost.name) == _plain(name)]
        return tuple(known or alike or unknown)


def _plain(name: str) -> str:
    return name.rpartition(".")[2].replace("-", "_").lower()
