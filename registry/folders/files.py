"""Bounded reads of the small files of a model folder."""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from registry.errors import FolderError

HEAD_BYTES = 512  # tell any file by its kind
MAX_JSON_BYTES = 4 * 2**20  # of a configuration
MAX_INDEX_BYTES = 8 * 2**20  # the largest honest one has 1 MB
MOST_VALUES = 500_000  # of JSON, which takes up to 70 bytes of memory for each
MOST_OF_FILE = 1_200_000  # of a whole file; configurations are looked at for fewer
MAX_ENTRIES = 10_000  # of a folder
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

GGUF = b"GGUF"

_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: 'git lfs pull' in its repository brings it"),
    (GGUF, "a GGUF file, which is not read here, only as a file under `parts` of a model's entry: bring safetensors"),
    (b"PK\x03\x04", "an archive (ZIP), as torch.save makes it of pickles, which can run code: bring safetensors"),
    *((bytes((0x80, n)), "a pickle, which can run code and is not read: bring safetensors") for n in range(2, 6)),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
)
_AGAIN = "fetch it again"


class TooManyValues(ValueError):
    """A JSON text with too many values to read; the message follows `has`."""


def strange(head: bytes, size: int, *, gguf: bool = False) -> str | None:
    """Return the kind of a wrong file by its first bytes, with an advice.

    GGUF is wrong, too, unless `gguf`.
    """
    if not size:
        return f"empty: {_AGAIN}"
    for start, kind in _KINDS:
        if head.startswith(start) and not (gguf and start == GGUF):
            return kind
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return f"a web page (HTML or XML), such as a server's error: {_AGAIN}, signed in where its owner asks for it"
    if not head.strip(b"\0"):
        return f"nothing but zeros, as a download that was broken off leaves them: {_AGAIN}"
    return None


def absent(path: Path) -> bool:
    """Return whether nothing exists at `path`; False if that cannot be known."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def names(folder: Path, part: str) -> frozenset[str]:
    """Return the names in a part's folder; raise `FolderError` if absent or empty."""
    with _explained(folder, f"the folder {part}"), os.scandir(folder) as entries:
        found = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
    if not found:
        raise FolderError(f"the folder {part} is empty", folder, missing=True)
    if len(found) > MAX_ENTRIES:
        raise FolderError(f"the folder {part} has more than {MAX_ENTRIES:,} entries", folder)
    return frozenset(found)


def regular_size(path: Path, what: str) -> int:
    """Return the bytes of a regular file; raise `FolderError` about `what`."""
    with _explained(path, what):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for its writer
        raise FolderError(f"{what} is no regular file", path)
    return status.st_size


def readable_size(path: Path, what: str) -> int:
    """Return the same, and refuse kernel files, which have no length."""
    # some are endless, and transformers would read them whole
    size = regular_size(path, what)
    if not size and _first(path, what, 1):  # the kernel's, of which some are endless
        raise FolderError(f"{what} is no regular file", path)
    return size


def beginning(path: Path, what: str, length: int = HEAD_BYTES, *, gguf: bool = False) -> tuple[bytes, int]:
    """Return the first bytes and the size of a regular file; raise `FolderError` otherwise.

    GGUF is refused like other wrong files, except where `gguf`.
    """
    size = regular_size(path, what)
    head = _first(path, what, length) if size else b""  # the kernel's own files have no size
    if kind := strange(head[:HEAD_BYTES], size, gguf=gguf):
        raise FolderError(f"{what} is {kind}", path, missing=not size)
    return head, size


def _first(path: Path, what: str, length: int) -> bytes:
    """Return the first bytes of a regular file that is read without waiting."""
    with _explained(path, what), open(path, "rb", opener=_without_waiting) as file:
        # it may have changed since its `stat`
        head = file.read(length) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    if head is None:  # a log of the kernel that was read to its end makes its reader wait
        raise FolderError(f"{what} is no regular file", path)
    return head


def slices(path: Path, what: str, spans: Iterable[tuple[int, int]]) -> list[bytes]:
    """Return the bytes at each (offset, length) of a regular file; raise `FolderError` otherwise."""
    with _explained(path, what), open(path, "rb", opener=_without_waiting) as file:
        found = []
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            for offset, length in spans:
                file.seek(offset)
                found.append(file.read(length))
            return found
    raise FolderError(f"{what} is no regular file", path)


def stamp(path: Path) -> tuple[int, ...]:
    """Return numbers that change when a file is changed or replaced; raise `OSError`."""
    status = path.stat()  # a copy may have the size and the time of its original
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Raise `FolderError` about `what` for an `OSError` of the block."""
    try:
        yield
    except FileNotFoundError:
        raise FolderError(f"{what} is missing", path, missing=True) from None
    except OSError as error:
        raise FolderError(f"{what} cannot be read: {error.strerror}", path) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO opens at once, with or without a writer


def read_json(path: Path, what: str, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the JSON object in `path`; raise `FolderError` for anything else."""
    if regular_size(path, what) > most:
        raise FolderError(f"{what} has more than {most:,} bytes", path)
    text, _ = beginning(path, what, most)
    try:
        value = parse(text.decode("utf-8"), MOST_OF_FILE)  # diffusers and transformers read nothing else
    except TooManyValues as error:
        raise FolderError(f"{what} has {error}", path) from error
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{what} must be JSON in UTF-8, it is not", path) from error
    if not isinstance(value, dict):
        raise FolderError(f"{what} must hold a JSON object, got {type(value).__name__}", path)
    return value


def parse(text: str | bytes, most: int = MOST_VALUES) -> Any:
    """Return the value of a JSON text; raise `ValueError` for other texts.

    A text with more than `most` values raises `TooManyValues` before it takes memory.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if sum(map(data.count, (b",", b"[", b"{"))) > most:
        raise TooManyValues(f"more than {most:,} values")
    return json.loads(text)
