"""Who else may change what a server runs and reads: whoever can may have it do what they like."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Changeable:
    """Of the paths that were `seen` those that everybody may change, and those that another user but root owns."""

    seen: int
    by_all: tuple[Path, ...]
    by_owner: tuple[Path, ...]

    def __str__(self) -> str:
        """Name the first three of each kind."""
        owned = [f"{path} belongs to user {' and '.join(map(str, _owners(path)))}" for path in self.by_owner]
        parts = [f"everybody may change {_listed(self.by_all)}" if self.by_all else "", _listed(owned)]
        return "; ".join(filter(None, parts))

    @property
    def advice(self) -> str:
        """Say what to do, '' where there is nothing."""
        parts = ["chmod o-w" if self.by_all else "", "chown" if self.by_owner else ""]
        said = " and ".join(filter(None, parts))
        return f"{said} what is yours" if said else ""


def changeable(paths: Iterable[Path], user: int, *, below: bool = True) -> Changeable:
    """Look at `paths`, every folder on the way to them and all `below` them; beside root, `user` may own them."""
    there = [Path(os.path.abspath(path)) for path in paths if os.path.exists(path)]
    inside = {each for path in there for each in (path, *(_below(path) if below else ()))}
    looked = dict.fromkeys([*(step for path in there for step in _way(path)), *sorted(inside)])
    modes = {path: found for path in looked if (found := _stat(path))}
    # in a folder with the sticky bit, such as /tmp, others replace nothing that is not theirs, and yet they add to it
    by_all = [path for path, found in modes.items() if _open(found) and not (_sticky(found) and path not in inside)]
    by_owner = [path for path in modes if not set(_owners(path)) <= {0, user}]
    return Changeable(len(modes), tuple(by_all), tuple(by_owner))


def _way(path: Path) -> Iterator[Path]:
    """Yield every folder and link that a name leads through, those of links too."""
    todo, done = [Path(os.path.abspath(path))], set[Path]()
    while todo:
        whole = todo.pop()
        for step in (*reversed(whole.parents), whole):
            if step in done:
                continue
            done.add(step)
            if step.is_symlink():
                target = os.path.join(step.parent, os.readlink(step), whole.relative_to(step))
                todo.append(Path(os.path.normpath(target)))
                yield step  # its owner can let it lead elsewhere
                break
            yield step


def _below(path: Path) -> list[Path]:
    """Return the files of a folder and those below it; links that lead nowhere are left out."""
    return [each for each in path.rglob("*") if os.path.exists(each)] if path.is_dir() else []


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # gone this moment, or not even ours to look at


def _open(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IWOTH)


def _sticky(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)


def _owners(path: Path) -> list[int]:
    """Return who owns what a path is, and what it leads to."""
    try:
        return sorted({path.lstat().st_uid, path.stat().st_uid})
    except OSError:
        return []


def _listed(things: Iterable[object]) -> str:
    """Name the first three of `things`, and say how many more there are."""
    names = list(map(str, things))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
