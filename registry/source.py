"""Sources of weights in their one spelling."""

from __future__ import annotations

import os
import re
from pathlib import Path

from registry.families import EMBEDDED, FAMILIES, find

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def is_hub_id(source: str | None) -> bool:
    """Return whether `source` is `OWNER/NAME` on the hub."""
    return source is not None and _HUB_ID.fullmatch(source) is not None


def public(source: str | None) -> str | None:
    """Return a source for callers: a hub id, or a folder's name only."""
    return source if source is None or is_hub_id(source) else source.rpartition("/")[2]


def is_folder(source: str) -> bool:
    """Return whether `source` starts as a folder: `./`, `../`, `/` or `~`."""
    return source.startswith((".", "/", "~"))


def resolve(source: str, base: Path) -> str:
    """Return `source` with an absolute folder, or the official spelling of a hub id.

    Raises `ValueError` with the allowed forms. Links stay unresolved, so that a folder can be swapped behind one.
    """
    if is_folder(source):
        return os.path.abspath(base / os.path.expanduser(source))
    family = find(source)
    if source.startswith(EMBEDDED) and family is None:
        known = ", ".join(family.source for family in FAMILIES if family.repo is None)
        raise ValueError(f"must be one of {known}, got {source}")
    if not source.startswith(EMBEDDED) and not is_hub_id(source):
        raise ValueError(f"must be OWNER/NAME on the hub, a folder (./, ../, / or ~) or {EMBEDDED}NAME, got {source}")
    return family.source if family else source
