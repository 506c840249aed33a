"""The errors of file system, SQLite and PostgreSQL, by their remedy."""

import errno
import sqlite3

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNUSABLE = (*DAMAGED, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS)  # fmt: skip
# of PostgreSQL, by its SQLSTATE or the class of that
NO_SPACE = "53100"  # an outage, too: it ends when there is space
OUTAGES = (
    "08",  # the connection failed
    "57P",  # the server shuts down, crashed, or starts
    "53",  # it has no connection, memory or space left
    "55P03",  # a lock was not free in time
    "25P03",  # a transaction stood still for too long
    "25006",  # it is a standby, which only reads
    "57014",  # a statement took too long
    "58",  # its disk failed
)
BROKEN = "XX00"  # followed by 1, data, or 2, an index
LOST = ("OperationalError", "InterfaceError")  # without SQLSTATE they are of the driver, whose connection is gone
# libpq gives no SQLSTATE for what it refuses; of a server that speaks another language these are outages
REFUSALS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
POOL_EMPTY = "every connection of this process to the store was in use for too long"


def is_disk_full(error: BaseException) -> bool:
    """Say whether the file system, or a database on it, had no space left."""
    is_here = _errno(error) in (errno.ENOSPC, errno.EDQUOT) or _sqlite_code(error) == sqlite3.SQLITE_FULL
    return is_here or _sqlstate(error) == NO_SPACE


def may_be_disk_full(error: BaseException) -> bool:
    """Say whether more disk space may help."""
    # SQLite reports an exhausted quota as a broken disk
    return is_disk_full(error) or _sqlite_code(error) == sqlite3.SQLITE_IOERR


def is_unwritable(error: BaseException) -> bool:
    """Say whether disk or store is read-only, broken, locked or gone."""
    is_local = _errno(error) in (errno.EROFS, errno.EIO) or _sqlite_code(error) in UNUSABLE
    return is_local or _is_moved(error) or is_outage(error) or is_damaged(error)


def is_outage(error: BaseException) -> bool:
    """Say whether a shared store is out of reach, or takes nothing, for now."""
    state = _sqlstate(error)
    if state is None:
        return _is_lost(error) and not is_refusal(error)
    return state.startswith(OUTAGES)


def is_refusal(error: BaseException) -> bool:
    """Say whether a shared store refuses this process's user, password or database."""
    return _sqlstate(error) is None and _is_lost(error) and any(words in reason(error) for words in REFUSALS)


def is_damaged(error: BaseException) -> bool:
    """Say whether the store's file is no database any more, or broken."""
    return _sqlite_code(error) in DAMAGED or (_sqlstate(error) or "") in (f"{BROKEN}1", f"{BROKEN}2")


def reason(error: BaseException) -> str:
    """Return an error's own text, without the statement and values that SQLAlchemy adds."""
    cause = getattr(error, "orig", None) or error
    if hasattr(cause, "sqlstate"):  # PostgreSQL's further lines quote rows and statements
        return next(iter(str(cause).splitlines()), type(cause).__name__)
    return POOL_EMPTY if _is_pool_empty(error) else str(cause)


def _is_lost(error: BaseException) -> bool:
    """Say whether the driver of PostgreSQL, or its pool, has no connection."""
    # neither is imported: most installations have no driver
    cause = getattr(error, "orig", None) or error
    is_driver = hasattr(cause, "sqlstate") and any(kind.__name__ in LOST for kind in type(cause).__mro__)
    return is_driver or _is_pool_empty(error) or _is_undone(error)


def _is_pool_empty(error: BaseException) -> bool:
    return _is_sqlalchemys(error, "TimeoutError")


def _is_undone(error: BaseException) -> bool:
    """Say whether a transaction cannot go on, as its connection was lost before."""
    return _is_sqlalchemys(error, "PendingRollbackError")


def _is_sqlalchemys(error: BaseException, name: str) -> bool:
    return (type(error).__module__, type(error).__name__) == ("sqlalchemy.exc", name)


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return state if isinstance(state, str) else None


def _is_moved(error: BaseException) -> bool:
    """Say whether the triggers of a moved store refused it."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_CONSTRAINT_TRIGGER


def _sqlite_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code, None for any other error."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
