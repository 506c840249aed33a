"""What a backend needs of the Python that runs it, and lacks."""

from __future__ import annotations

from importlib.util import find_spec

from router.values import Backend


def missing(backend: Backend) -> tuple[str, ...]:
    """Return the modules that `backend` needs and this Python lacks."""
    return tuple(module for module in backend.requires if not _is_here(module))


def wanted(backend: Backend) -> str:
    """Say what `backend` needs and lacks, and the command that brings it."""
    advice = f": pip install 'framegate[{backend.extra}]'" if backend.extra else ""
    return f"the backend {backend.name} needs {', '.join(missing(backend))}{advice}"


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):  # of `a.b` the package `a` lacks, or is none
        return False
