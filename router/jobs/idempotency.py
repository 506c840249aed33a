"""Idempotency keys: requests repeated under one key are one job."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from router.errors import InvalidRequest
from router.request import Request

HEADER = "Idempotency-Key"
KEY_SECONDS = 24 * 3600.0  # how long a key stands for its request
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True)
class Key:
    """A caller's name for one request, with the request's digest."""

    name: str
    request: str


def check_name(name: str) -> None:
    """Raise `InvalidRequest` for an invalid name."""
    if not _KEY.fullmatch(name):
        raise InvalidRequest(f"{HEADER} must be 1 to 255 visible ASCII characters, got {name[:100]!r}", param=HEADER)


def key_of(name: str, request: Request, pictures: Sequence[str]) -> Key:
    """Return the key of a request; `pictures` are the digests of its images.

    Equal requests have equal fields and equal images, in any spelling.
    """
    fields: dict[str, Any] = {
        "model": request.model,
        "prompt": request.prompt,
        "pictures": [(one.role, digest) for one, digest in zip(request.pictures, pictures, strict=True)],
        "options": asdict(request.options),
        "seed": request.seed,
        "params": request.params,
        "dialect": request.param("prompt"),
        "form": replace(request.presentation, system=(), prompt=None).as_row(),  # they are in `prompt`
    }
    if request.count > 1:
        fields["count"] = request.count  # left out otherwise, as in keys of older versions; so are adapters
    if request.adapters is not None:
        fields["adapters"] = [asdict(choice) for choice in request.adapters]
    return Key(name, hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest())
