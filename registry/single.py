"""A registry of one model, for `framegate serve --model REPO_OR_FOLDER`, where nobody has written a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from registry.entry import BackendInfo, Entry
from registry.errors import Problem, RegistryError
from registry.families import EMBEDDED, Family, find
from registry.infer import infer_folder
from registry.lines import Document
from registry.models import Registry
from registry.source import is_folder, is_hub_id, resolve


def load_one(
    source: str,
    backend_name: str,
    backends: Iterable[BackendInfo],
    download: bool = False,
    folder: Path | None = None,
) -> Registry:
    """Return the registry of one model, named after its hub id or its folder; raise `RegistryError`.

    `folder` is where somebody has found the weights already, such as a snapshot in the hub's cache;
    it is only read to learn what an unknown model is.
    """
    if os.path.isdir(written := os.path.expanduser(source)):  # as in diffusers, a folder goes before a hub id
        source = os.path.abspath(written)
    try:
        source = resolve(source, Path.cwd())
        family = _family(source, folder)
    except ValueError as error:
        raise RegistryError([Problem(source, 0, "", str(error))]) from error
    document = Document(source)
    entry = {"source": source, "backend": backend_name, "download": download}
    known = {backend.name: backend for backend in backends}
    model = Entry(document, (), entry, Path.cwd(), family).model(_name(source), known)
    if document.problems or model is None:
        raise document.error()
    return Registry((model,), default=model.name)


def _family(source: str, folder: Path | None) -> Family:
    if is_folder(source):
        return infer_folder(Path(source))
    if family := find(source):
        return family
    if folder:
        return infer_folder(folder)
    raise ValueError(
        "is not a published Wan variant and not on this disk: "
        f"fetch it with `framegate pull {source}`, or write it into models.yaml and say its modality"
    )


def _name(source: str) -> str:
    if is_hub_id(source):
        return source
    last = source.removeprefix(EMBEDDED).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:128] or "model"
