"""Idempotency keys: what a caller sends again under one key is one job."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from router import images
from router.errors import InvalidRequest
from router.requests import Picture, Request

HEADER = "Idempotency-Key"
KEY_SECONDS = 24 * 3600.0  # how long a key stands for its request
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True)
class Key:
    """A caller's name for one request, and the digest by which the same request is known again."""

    name: str
    request: str


def key_of(name: str | None, request: Request) -> Key | None:
    """Return the key of a request that came with one; raise `InvalidRequest` for a name that is none.

    Equal requests have equal fields and equal images, however they were written down; an image behind an
    http(s) URL is equal by its URL, so that it is not fetched again.
    """
    if name is None:
        return None
    if not _KEY.fullmatch(name):
        raise InvalidRequest(f"{HEADER} must be 1 to 255 visible ASCII characters, got {name[:100]!r}", param=HEADER)
    said = {
        "model": request.model,
        "prompt": request.prompt,
        "pictures": [(picture.role, _digest(picture)) for picture in request.pictures],
        "options": asdict(request.options),
        "seed": request.seed,
        "params": request.params,
        "dialect": request.param("prompt"),
        "form": dict(request.form),
    }
    return Key(name, hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest())


def _digest(picture: Picture) -> str:
    if picture.data is not None:
        data = picture.data
    elif images.is_remote(picture.url):
        data = picture.url.encode("utf-8", "surrogatepass")
    else:
        data = images.parse_data_url(picture.url, images.MAX_BYTES, param=picture.param)
    return hashlib.sha256(data).hexdigest()
