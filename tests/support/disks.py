"""Small disks for data folders: they fill up, turn read-only, break."""

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

PAGE = 4096


@contextmanager
def disk(folder: Path, size: str = "16m") -> Iterator[Path]:
    """Mount a disk of `size` at `folder`, or skip the test."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def breakable(folder: Path, size: str = "32M") -> Iterator[Path]:
    """Mount an ext4 file system for `break_down` at `folder`, or skip the test."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.with_suffix(".ext4")
    with open(image, "wb") as file:
        file.truncate(int(size.removesuffix("M")) * 2**20)
    try:
        made = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the command mkfs.ext4 on this machine")
    assert made.returncode == 0, made.stderr
    _mount("-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def break_down(folder: Path) -> None:
    """Abort a file system as after a disk error: no write succeeds."""
    _mount("-o", "remount,abort", str(folder))


@contextmanager
def full(data: Path, leave: int = 0) -> Iterator[Callable[[], None]]:
    """Fill the disk of `data` but for `leave` bytes; yield a function that refills.

    The store's log is emptied first: it has no space of its own then, and each of its writes needs the disk's.
    """
    filler = data / "filler"

    def fill() -> None:
        with open(filler, "ab", buffering=0) as file:
            while (spare := shutil.disk_usage(data).free - leave) >= PAGE:
                with suppress_full():  # the server writes meanwhile
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), spare // PAGE * PAGE)

    log = data / "jobs.sqlite-wal"
    try:
        for _ in range(50):  # the server may write between the two
            _empty_log(data)
            fill()
            if not (log.exists() and log.stat().st_size) and shutil.disk_usage(data).free < leave + PAGE:
                break
        yield fill
    finally:
        filler.unlink()


@contextmanager
def suppress_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def read_only(data: Path) -> Iterator[None]:
    """Make the disk under `data` read-only for files opened in the block.

    What is open already stays writable: the kernel makes no disk read-only under files that are being written.
    """
    _mount("--bind", str(data), str(data))
    try:
        _mount("-o", "remount,bind,ro", str(data))
        yield
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


def remount(data: Path, how: str) -> None:
    """Make a disk that nobody writes to `ro` or `rw`."""
    _mount("-o", f"remount,{how}", str(data))


def _mount(*arguments: str) -> None:
    ended = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if ended.returncode:
        pytest.skip(f"mounting a small disk needs root, and a kernel that lets it: {ended.stderr.strip()}")


def _empty_log(data: Path) -> None:
    with closing(sqlite3.connect(data / "jobs.sqlite", timeout=30)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
