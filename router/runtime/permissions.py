"""Files of a server that other users may change."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Changeable:
    """Paths that everybody may change, and paths of other users than root."""

    seen: int  # paths
    by_all: tuple[Path, ...]
    by_owner: tuple[Path, ...]

    def __str__(self) -> str:
        owned = [f"{path} belongs to user {' and '.join(map(str, _owners(path)))}" for path in self.by_owner]
        parts = [f"everybody may change {_listed(self.by_all)}" if self.by_all else "", _listed(owned)]
        return "; ".join(filter(None, parts))

    @property
    def advice(self) -> str:
        commands = " and ".join(filter(None, ("chmod o-w" if self.by_all else "", "chown" if self.by_owner else "")))
        return f"{commands} what is yours" if commands else ""


def changeable(paths: Iterable[Path], user: int, *, below: bool = True) -> Changeable:
    """Check `paths`, all folders above them and, with `below`, all files in them.

    Root and `user` may own them.
    """
    there = [Path(os.path.abspath(path)) for path in paths if os.path.exists(path)]
    inside = {each for path in there for each in (path, *(_below(path) if below else ()))}
    looked = dict.fromkeys([*(step for path in there for step in _way(path)), *sorted(inside)])
    modes = {path: found for path in looked if (found := _stat(path))}
    # in a folder with the sticky bit, such as /tmp, others replace nothing that is not theirs, and yet they add to it
    by_all = [path for path, found in modes.items() if _open(found) and not (_sticky(found) and path not in inside)]
    by_owner = [path for path in modes if not set(_owners(path)) <= {0, user}]
    return Changeable(len(modes), tuple(by_all), tuple(by_owner))


def _way(path: Path) -> Iterator[Path]:
    """Yield every folder and link on the way to a path."""
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
                yield step  # its owner can change its target
                break
            yield step


def _below(path: Path) -> list[Path]:
    """Return all files below a folder, without broken links."""
    return [each for each in path.rglob("*") if os.path.exists(each)] if path.is_dir() else []


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # gone meanwhile, or not readable


def _open(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IWOTH)


def _sticky(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)


def _owners(path: Path) -> list[int]:
    """Return the owners of a path and of its target."""
    try:
        return sorted({path.lstat().st_uid, path.stat().st_uid})
    except OSError:
        return []


def _listed(things: Iterable[object]) -> str:
    """List the first three, and the number of others."""
    names = list(map(str, things))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
