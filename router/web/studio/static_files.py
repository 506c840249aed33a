"""The files of the page, with their ETags."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """A file of the page; its ETag is the digest of its bytes."""

    name: str

    @cached_property
    def data(self) -> bytes:
        return files(__package__).joinpath("page", self.name).read_bytes()

    @cached_property
    def etag(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def media_type(self) -> str:
        return TYPES[self.name.rpartition(".")[2]]


def static_files() -> dict[str, StaticFile]:
    """Return the files of the page by name."""
    found = files(__package__).joinpath("page").iterdir()
    return {path.name: StaticFile(path.name) for path in found if path.name.rpartition(".")[2] in TYPES}
