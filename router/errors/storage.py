"""The errors of file system and SQLite, by their remedy."""

import errno
import sqlite3

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNUSABLE = (*DAMAGED, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS)  # fmt: skip


def is_disk_full(error: BaseException) -> bool:
    """Say whether the file system, or SQLite on it, had no space left."""
    return _errno(error) in (errno.ENOSPC, errno.EDQUOT) or _sqlite_code(error) == sqlite3.SQLITE_FULL


def may_be_disk_full(error: BaseException) -> bool:
    """Say whether more disk space may help."""
    # SQLite reports an exhausted quota as a broken disk
    return is_disk_full(error) or _sqlite_code(error) == sqlite3.SQLITE_IOERR


def is_unwritable(error: BaseException) -> bool:
    """Say whether disk or store is read-only, broken, locked or gone."""
    return _errno(error) in (errno.EROFS, errno.EIO) or _sqlite_code(error) in UNUSABLE or _is_moved(error)


def is_damaged(error: BaseException) -> bool:
    """Say whether the store's file is no database any more."""
    return _sqlite_code(error) in DAMAGED


def reason(error: BaseException) -> str:
    """Return an error's own text, without the statement and values that SQLAlchemy adds."""
    return str(getattr(error, "orig", None) or error)


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _is_moved(error: BaseException) -> bool:
    """Say whether the triggers of a moved store refused it."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_CONSTRAINT_TRIGGER


def _sqlite_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code, None for any other error."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
