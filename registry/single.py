"""A registry of one model, for `framegate serve --model REPO_OR_FOLDER`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from registry.backends import BackendInfo, Backends
from registry.entry import Entry
from registry.errors import Problem, RegistryError
from registry.families import EMBEDDED
from registry.lines import Document
from registry.models import BrokenModel, Registry
from registry.source import is_hub_id, resolve


def load_one(
    source: str, backend_name: str, backends: Backends | Iterable[BackendInfo], download: bool = False
) -> Registry:
    """Return the registry of one model, named after its hub id or folder."""
    if os.path.isdir(written := os.path.expanduser(source)):  # as in diffusers, a folder goes before a hub id
        source = os.path.abspath(written)
    try:
        source = resolve(source, Path.cwd())
    except ValueError as error:
        raise RegistryError([Problem(source, 0, "", str(error))]) from error
    document = Document(source)
    entry = {"source": source, "backend": backend_name, "download": download}
    read = Entry(document, (), entry, Path.cwd(), Backends.of(backends))
    model = read.model(_name(source))
    if isinstance(model, BrokenModel):
        raise RegistryError([Problem(source, 0, "", model.problem.message if read.lost else model.reason)])
    if document.problems or model is None:
        raise document.error()
    return Registry((model,), default=model.name, notes=tuple(document.notes))


def _name(source: str) -> str:
    if is_hub_id(source):
        return source
    last = source.removeprefix(EMBEDDED).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:128] or "model"
