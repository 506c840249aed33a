"""The record of an export: its source, and the digest of every file."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from packaging.version import InvalidVersion, Version

from registry.folders import FolderError
from registry.folders.files import read_json
from registry.folders.safetensors import read_header
from registry.folders.weights import SUFFIX
from router import LoadFailed

FILE = "export.json"
FORMAT = 1
OPSET = 23  # of the graphs: the first with RotaryEmbedding and RMSNormalization
MAX_BYTES = 64 * 2**20  # of a file without weights; the graph of 14B has about 4 MB
DTYPES = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Digest:
    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """One export: the registry's `source`, its commit, and `files` by relative path."""

    source: str
    revision: str | None
    dtype: str
    opset: int
    libraries: Mapping[str, str]
    files: Mapping[str, Digest]

    def write(self, folder: Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        (folder / FILE).write_text(text)

    def newer(self, installed: Callable[[str], str | None]) -> list[str]:
        """Return the libraries older here than at export; `installed` returns a version or None."""
        found = []
        for name, exported in self.libraries.items():
            here = installed(name)
            with suppress(InvalidVersion):  # a build may have any name, and this is a warning only
                if here is not None and _public(here) < _public(exported):
                    found.append(f"{name} {exported} (here {here})")
        return found

    def verify(self, folder: Path, digest: Callable[[Path], str]) -> None:
        """Raise `LoadFailed` for a missing or changed file; `digest` returns a file's SHA-256."""
        for name, file in self.files.items():
            path = folder / name
            if not path.is_file():
                raise LoadFailed(f"its folder lacks {name}, which its {FILE} lists")
            if (size := path.stat().st_size) != file.size:
                raise LoadFailed(f"{name} must have {file.size} bytes, as its {FILE} says, got {size}")
            _require_sound(path, name, size)  # first: the digest of a sparse file of terabytes takes hours
        parts = {PurePosixPath(name).parts[0] for name in self.files if "/" in name}
        for path in (path for part in sorted(parts) for path in sorted((folder / part).rglob("*"))):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in self.files:
                raise LoadFailed(f"{name} is no file that was exported: {FILE} does not list it")
        with ThreadPoolExecutor(8) as threads:
            digests = list(threads.map(lambda name: digest(folder / name), self.files))
        for (name, file), found in zip(self.files.items(), digests, strict=True):
            if found != file.sha256:
                raise LoadFailed(
                    f"{name} is not the file that was exported: its SHA-256 must be "
                    f"{file.sha256[:12]}..., as {FILE} says, got {found[:12]}...; export the model again"
                )


def _require_sound(path: Path, name: str, size: int) -> None:
    part = PurePosixPath(name).parent.name
    if not name.endswith(SUFFIX):
        if size > MAX_BYTES:
            raise LoadFailed(f"{name} must have at most {MAX_BYTES:,} bytes, it has {size:,}")
        return
    try:
        read_header(path, part)
    except FolderError as error:
        raise LoadFailed(error.reason) from error


def read(folder: Path) -> Record:
    """Return the record of the export in `folder`; raise `LoadFailed` without a usable one."""
    try:
        data = read_json(folder / FILE, FILE)
    except FolderError as error:
        raise LoadFailed(f"{error.reason}; 'framegate export MODEL -o FOLDER' makes a folder with one") from error
    try:
        return _record(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadFailed(f"{FILE} must be of format {FORMAT}, it is not: {error}") from error


def _record(data: dict[str, object]) -> Record:
    for key, value in {"format": FORMAT, "opset": OPSET}.items():
        if data[key] != value:
            raise ValueError(f"{key} must be {value}, got {data[key]!r}")
    if data["dtype"] not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {data['dtype']!r}")
    source, revision, libraries, files = (data[key] for key in ("source", "revision", "libraries", "files"))
    if not isinstance(source, str) or not isinstance(revision, str | None):
        raise TypeError("source and revision must be text")
    if not isinstance(libraries, dict) or not isinstance(files, dict) or not files:
        raise TypeError("libraries and files must be objects, and there must be files")
    if not all(isinstance(version, str) for version in libraries.values()):
        raise TypeError("libraries must be versions by names")
    digests = {_inside(name): Digest(int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
    return Record(source, revision, str(data["dtype"]), OPSET, libraries, digests)


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _public(version: str) -> Version:
    """Return a version without the part after a +, which differs by build."""
    return Version(Version(version).public)


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"files must lie in the folder, got {name}")
    return name


def digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
