"""The check of a backend's declaration, and of the modules that it requires."""

import re
from importlib.util import find_spec

from marshmallow import Schema

from registry import Modality
from router.values import Backend

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class InvalidDeclaration(Exception):
    """The reason why a declaration is invalid; `backend` is its name, if any."""

    def __init__(self, message: str, backend: str | None = None) -> None:
        super().__init__(message)
        self.backend = backend


def validated(backend: object) -> Backend:
    """Return a valid declaration; raise `InvalidDeclaration` for the first wrong field."""
    if not isinstance(backend, Backend):
        raise InvalidDeclaration(f"declare_backend must return a Backend, got {type(backend).__name__}")
    name, modalities, options, requires = backend.name, backend.modalities, backend.options, backend.requires
    for is_valid, rule, value in (
        (isinstance(name, str) and NAME.fullmatch(name), "name must be letters, digits and ._-", name),
        (_all(modalities, frozenset, Modality), "modalities must be a frozenset of Modality", modalities),
        (_is_schema(options), "options must be a class of marshmallow's Schema", options),
        (_all(requires, tuple, str), "requires must be a tuple of the names of modules", requires),
    ):
        if not is_valid:
            raise InvalidDeclaration(f"its Backend's {rule}, got {value!r:.100}", str(name))
    return backend


def _all(values: object, kind: type, of: type) -> bool:
    return isinstance(values, frozenset | tuple) and isinstance(values, kind) and all(isinstance(v, of) for v in values)


def _is_schema(options: object) -> bool:
    return options is None or (isinstance(options, type) and issubclass(options, Schema))


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
