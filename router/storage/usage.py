"""The disk usage of a job, and the attempts of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """The files of a job: bytes, last change and last read (seconds since 1970).

    `outputs` has the name and the size of each file except inputs.
    """

    size: int = 0
    changed_at: float = 0.0
    read_at: float = 0.0
    outputs: frozenset[tuple[str, int]] = frozenset()

    def __or__(self, other: Usage) -> Usage:
        changed_at, read_at = max(self.changed_at, other.changed_at), max(self.read_at, other.read_at)
        return Usage(self.size + other.size, changed_at, read_at, self.outputs | other.outputs)

    def has_leftovers(self, output: str | None) -> bool:
        """Say whether files of other attempts than `output`'s are left, or a preview."""
        return any(attempt(name) != attempt_of(output) for name, _ in self.outputs)


def usage_of(path: Path, *, is_output: bool) -> Usage:
    stat = path.stat()
    if not path.is_dir():
        outputs = frozenset({(path.name, stat.st_size)} if is_output else ())
        return Usage(stat.st_size, stat.st_mtime, max(stat.st_atime, stat.st_mtime), outputs)
    use = Usage(changed_at=stat.st_mtime)
    for inner in entries(path):
        use |= usage_of(inner, is_output=is_output)
    return use


def entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, none if it is missing."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def attempt(name: str) -> int:
    """Return the attempt in an output file's name, 0 without one."""
    number = name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def attempt_of(output: str | None) -> int:
    """Return the attempt of the result; -1 without a result."""
    return attempt(output) if output else -1
