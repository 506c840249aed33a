"""The errors of models files and of model folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One problem: file, line, field, and a message with the allowed values."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return where + (f"{self.field}: " if self.field else "") + self.message


class RegistryError(Exception):
    """A models file that cannot be served; `problems` lists every reason, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class FolderError(Exception):
    """A folder that cannot be served.

    Callers may read `reason`: it names parts and files, never a path. `str()` adds the `path` and the `detail` for
    the operator. `missing` marks files that may still arrive, as during a download.
    """

    def __init__(self, reason: str, path: Path, *, missing: bool = False, detail: str = "") -> None:
        self.reason = printable(reason)
        self.path = path
        self.missing = missing
        self.detail = detail
        super().__init__(printable(f"{path}: {reason}{detail}"))

    def again(self) -> FolderError:
        """Return a copy without its traceback, which would keep whole files in memory."""
        return FolderError(self.reason, self.path, missing=self.missing, detail=self.detail)


def printable(text: str) -> str:
    """Return text on one line, with control and undecodable characters escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
