"""A consistent copy of the job store, while servers use it."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.exc import SQLAlchemyError

from router.errors import BootError, is_disk_full, reason
from router.jobs.database import open_database
from router.jobs.store_copy import copy_store
from router.runtime.byte_size import format_bytes
from router.runtime.files import PRIVATE, publish, sync_folder

BUSY_SECONDS = 15.0
BESIDE = ("", "-journal", "-wal", "-shm")  # endings of the files of one database


@dataclass(frozen=True)
class Backup:
    """The counts of a copy, and its `size` in bytes."""

    jobs: int
    keys: int
    size: int


def back_up(store: Path | str, file: Path, *, replace: bool = False) -> Backup:
    """Copy a store to an SQLite `file`, whole or not at all.

    Raises `BootError` for a store or a file that cannot be used; with `replace` an older file is replaced.
    """
    try:
        _check(store, file, replace)
        with TemporaryDirectory(prefix=".framegate-", suffix=".part", dir=file.parent) as folder:
            part = Path(folder, "jobs.sqlite")
            if isinstance(store, Path):
                os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
                made = _copy_file(store, part)
            else:
                made = _copy_rows(store, part)
            _publish(part, file, replace)
    except FileExistsError as error:  # since the check
        raise BootError(_taken(file)) from error
    except OSError as error:
        raise BootError(f"{file} cannot be written: {error.strerror or error}") from error
    return made


def _copy_rows(store: str, part: Path) -> Backup:
    """Copy a shared store; the secret of its links stays a fact."""
    with closing(open_database(store)) as source, closing(open_database(part)) as copy:
        try:
            with source.snapshot() as rows, copy.write() as db:
                copy_store(source, rows, copy, db)
        except SQLAlchemyError as error:
            if is_disk_full(error):
                raise OSError(
                    f"the disk is full: {format_bytes(shutil.disk_usage(part.parent).free)} are free"
                ) from error
            raise BootError(f"{source.name} cannot be copied: {reason(error)}; 'framegate doctor' says more") from error
    with closing(sqlite3.connect(part, isolation_level=None)) as copied:
        return _checked(copied, part)


def _check(store: Path | str, file: Path, replace: bool) -> None:
    if isinstance(store, Path) and not _is_file(store):
        raise BootError(f"there is no job store {store}: no server has run on this data folder, --data names another")
    if not file.parent.is_dir():
        raise BootError(f"a backup needs a folder that is there, got {file.parent}")
    if isinstance(store, Path) and os.path.realpath(file) in {os.path.realpath(f"{store}{end}") for end in BESIDE}:
        raise BootError(f"a backup needs a file of its own, got {file}, which is the store")
    if not (file.exists() or file.is_symlink()):
        return
    if not file.is_file():
        raise BootError(f"a backup needs the name of a file, got {file}, which is something else")
    if not replace:
        raise BootError(_taken(file))


def _is_file(store: Path) -> bool:
    try:
        return store.is_file()
    except OSError as error:  # its folder is closed to this user
        raise BootError(f"{store} cannot be read: {error.strerror}") from error


def _taken(file: Path) -> str:
    return f"{file} is there already: choose another name, or replace it with --force"


def _copy_file(store: Path, part: Path) -> Backup:
    try:
        with closing(_open(store)) as source:
            _require_tables(source, store)
            with closing(sqlite3.connect(part, isolation_level=None)) as copy:
                return _fill(copy, source, part)
    except sqlite3.Error as error:
        if is_disk_full(error):
            free = format_bytes(shutil.disk_usage(part.parent).free)
            needed = format_bytes(store.stat().st_size)
            raise OSError(f"the disk is full: the store takes {needed}, {free} are free") from error
        raise BootError(f"{store} cannot be copied: {error}; 'framegate doctor' says more") from error


def _open(store: Path) -> sqlite3.Connection:
    uri = f"{store.absolute().as_uri()}?mode=rw"  # not `ro`, which cannot read the log of a stopped server
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _require_tables(source: sqlite3.Connection, store: Path) -> None:
    found = {row[0] for row in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"jobs", "alembic_version"} <= found:
        raise BootError(f"{store} is no job store: it needs the table jobs, got {', '.join(sorted(found)) or 'none'}")


def _fill(copy: sqlite3.Connection, source: sqlite3.Connection, part: Path) -> Backup:
    source.backup(copy)  # all pages in one step: a change of another process would begin it again
    return _checked(copy, part)


def _checked(copy: sqlite3.Connection, part: Path) -> Backup:
    copy.execute("PRAGMA journal_mode=DELETE")  # without a log beside it, the copy is one file
    problems = [str(row[0]) for row in copy.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise sqlite3.DatabaseError(f"it is damaged: {'; '.join(problems)}")
    tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (jobs,) = copy.execute("SELECT count(*) FROM jobs").fetchone()
    (keys,) = copy.execute("SELECT count(*) FROM api_keys").fetchone() if "api_keys" in tables else (0,)
    return Backup(jobs, keys, part.stat().st_size)


def _publish(part: Path, file: Path, replace: bool) -> None:
    """Give a finished file its name durably; raise `FileExistsError` if taken."""
    if replace:
        publish(part, file, file.parent)
        return
    with open(part, "rb") as opened:
        os.fsync(opened.fileno())
    try:
        os.link(part, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        publish(part, file, file.parent)
    sync_folder(file.parent)
