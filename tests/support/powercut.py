"""The state of a disk after a power cut, from recorded system calls.

The model is stricter than any file system: data is there once its file was synced after the write, a name once its
folder was synced after the change, and each write and each change of a name may be there or not until then.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CALLS = (
    "openat,write,pwrite64,writev,pwritev,ftruncate,fallocate,fsync,fdatasync,"
    "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat"
)
LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+).*")
BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+).*")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
OPEN_FILE = re.compile(r"\d+<([^>]*)>")
NAMED = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
DATABASE = re.compile(r"jobs\.sqlite(-wal|-journal)?")
WHOLE, TORN = b"whole", b"torn"
Choose = Callable[[int], bool]  # whether a change that was not synced, of this number, is there


@dataclass(frozen=True)
class Call:
    """A successful system call; `begun` counts the calls that ended before it."""

    name: str
    arguments: str
    begun: int


def record(command: Sequence[str], log: Path, **environ: str) -> tuple[Call, ...]:
    """Run a command and return its threads' calls by their end."""
    tracer = ["strace", "-f", "-y", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(log)]
    try:
        tried = subprocess.run([*tracer, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the command strace on this machine")
    if tried.returncode:
        pytest.skip(f"strace may not watch processes here: {tried.stderr.strip()}")
    ran = subprocess.run([*tracer, sys.executable, *command], env=environ, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return tuple(_calls(log.read_text(errors="surrogateescape").splitlines()))


def _calls(lines: Sequence[str]) -> Iterator[Call]:
    ended, begun = 0, dict[str, tuple[str, int]]()
    for line in lines:
        if found := BEGUN.fullmatch(line):
            begun[found[1]] = (found[3], ended)
            continue
        first, since = "", ended
        if found := RESUMED.fullmatch(line):
            first, since = begun.pop(found[1])
        elif not (found := LINE.fullmatch(line)):
            continue
        if int(found[4]) >= 0:
            ended += 1
            yield Call(found[2], first + found[3], since)


Change = tuple[int, bytes] | int  # bytes at an offset, or a new length


@dataclass
class File:
    """A file and its writes: bytes of the store's files, marks of others."""

    changes: list[tuple[int, Change]] = field(default_factory=list)  # not synced yet, each with its number
    kept: bytearray = field(default_factory=bytearray)

    def sync(self, last: int) -> None:
        """Keep what was done up to the change of this number."""
        while self.changes and self.changes[0][0] <= last:
            _apply(self.changes.pop(0)[1], self.kept)

    def content(self, choose: Choose) -> bytes:
        data = self.kept.copy()
        for number, change in self.changes:
            if choose(number):
                _apply(change, data)
        return bytes(data)

    def whole(self, choose: Choose) -> bool:
        return all(choose(number) for number, _ in self.changes)


def _apply(change: Change, data: bytearray) -> None:
    at, written = (change, b"") if isinstance(change, int) else change
    data.extend(bytes(max(at - len(data), 0)))
    data[at : None if isinstance(change, int) else at + len(written)] = written


Names = dict[str, "File | Folder | None"]  # those that come, and None for those that go


@dataclass
class Folder:
    """A folder, the names in it, and what was done to them."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[tuple[int, Names]] = field(default_factory=list)  # not synced yet, each with its number
    kept: dict[str, File | Folder] = field(default_factory=dict)

    def change(self, number: int, names: Names) -> None:
        self.changes.append((number, names))
        self.names = _applied(self.names, names)

    def sync(self, last: int) -> None:
        """Keep what was done up to the change of this number."""
        while self.changes and self.changes[0][0] <= last:
            self.kept = _applied(self.kept, self.changes.pop(0)[1])

    def content(self, choose: Choose) -> dict[str, File | Folder]:
        names = self.kept
        for number, changed in self.changes:
            if choose(number):
                names = _applied(names, changed)
        return names


def _applied(names: dict[str, File | Folder], changed: Names) -> dict[str, File | Folder]:
    return {name: node for name, node in {**names, **changed}.items() if node is not None}


class Disk:
    """The disk below `root`, call by call."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = Folder()
        self._number = 0

    def take(self, call: Call) -> None:
        """Do what a call has done."""
        self._number += 1
        name, text = call.name, call.arguments
        if name in ("fsync", "fdatasync"):
            if node := self._node(_open_file(text)):
                node.sync(call.begun)
        elif name in ("write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate"):
            node = self._node(_open_file(text))
            if isinstance(node, File):
                node.changes.append((self._number, _written(name, text)))
        else:
            self._change_names(name, text)

    def _change_names(self, name: str, text: str) -> None:
        paths = [Path(_plain(folder or "/"), _plain(tail)) for folder, tail in NAMED.findall(text)]
        paths = [path for path in paths if path.is_relative_to(self._root)]
        folders = [self._node(str(path.parent)) for path in paths]
        if not paths or not all(isinstance(folder, Folder) for folder in folders):
            return
        (first, folder) = paths[0].name, folders[0]
        assert isinstance(folder, Folder)
        there = folder.names.get(first)
        if name == "openat":
            if "O_CREAT" in text and there is None:
                folder.change(self._number, {first: File()})
            elif "O_TRUNC" in text and isinstance(there, File):
                there.changes.append((self._number, 0))
        elif name.startswith("mkdir"):
            folder.change(self._number, {first: Folder()})
        elif name.startswith(("unlink", "rmdir")):
            folder.change(self._number, {first: None})
        elif name.startswith(("rename", "link")):
            assert folders[1] is folder, text
            gone = {first: None} if name.startswith("rename") else {}
            folder.change(self._number, {**gone, paths[1].name: there})

    def _node(self, path: str) -> File | Folder | None:
        node: File | Folder | None = self._folder
        if not Path(path).is_relative_to(self._root):
            return None
        for name in Path(path).relative_to(self._root).parts:
            node = node.names.get(name) if isinstance(node, Folder) else None
        return node

    def left(self, choose: Choose) -> dict[str, bytes]:
        """Return the files after a power cut: bytes, or `WHOLE` or `TORN`."""
        return dict(_left(self._folder, "", choose))


def _left(node: Folder, at: str, choose: Choose) -> Iterator[tuple[str, bytes]]:
    for name, inner in node.content(choose).items():
        if isinstance(inner, Folder):
            yield from _left(inner, f"{at}{name}/", choose)
        elif DATABASE.fullmatch(name):
            yield f"{at}{name}", inner.content(choose)
        else:
            yield f"{at}{name}", WHOLE if inner.whole(choose) else TORN


def _open_file(text: str) -> str:
    found = OPEN_FILE.match(text)
    return _plain(found[1]) if found else ""


def _written(name: str, text: str) -> tuple[int, bytes] | int:
    """Return the offset and bytes of a write, or the length of a truncation."""
    if name == "ftruncate":
        return int(text.rpartition(", ")[2])
    found = STRING.search(text)
    if name == "pwrite64" and found:
        return int(text.rpartition(", ")[2]), _bytes(found[1])
    return 0, b""


def _plain(text: str) -> str:
    return _bytes(text).decode()


def _bytes(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")
