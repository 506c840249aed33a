"""Python modules that backends require."""

from __future__ import annotations

from importlib.util import find_spec

from router.values import Backend


def missing(backend: Backend) -> tuple[str, ...]:
    """Return the modules that `backend` requires and this Python lacks."""
    return tuple(module for module in backend.requires if not _is_here(module))


def missing_message(backend: Backend) -> str:
    """Return a sentence about the missing modules, with the command to install them."""
    advice = f": pip install 'framegate[{backend.extra}]'" if backend.extra else ""
    return f"the backend {backend.name} needs {', '.join(missing(backend))}{advice}"


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):  # in `a.b`, `a` is missing or is no package
        return False
