"""What callers are told while nothing can be written."""

import errno
import sqlite3

import pytest
from sqlalchemy.exc import DatabaseError

from router import hookimpl
from router.settings import Settings
from router.system import assemble
from router.web import create_app


class Failing:
    """A policy that raises the error of a failed write."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @hookimpl
    def check_request(self) -> None:
        raise self.error


def sql(code: int, said: str = "", value: str = "") -> DatabaseError:
    """Return what SQLAlchemy makes of SQLite's error of this (extended) result code."""
    error = sqlite3.DatabaseError(said)
    error.sqlite_errorcode = code
    return DatabaseError("INSERT INTO jobs VALUES (?)", [value], error)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, "no room"), 503, "disk_full"),
        (OSError(errno.EDQUOT, "no room"), 503, "disk_full"),
        (sql(sqlite3.SQLITE_FULL), 503, "disk_full"),
        (OSError(errno.EROFS, "read-only"), 503, "store_unavailable"),
        (OSError(errno.EIO, "broken"), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_BUSY), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_BUSY_SNAPSHOT), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_READONLY_DBMOVED), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_IOERR_WRITE), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_IOERR_FSYNC), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_CANTOPEN), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_CORRUPT), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_NOTADB), 503, "store_unavailable"),
        (sql(sqlite3.SQLITE_ERROR, "no such table: jobs", "a prompt: database is locked"), 500, "internal_error"),
    ],
)
def test_who_asks_is_told_when_to_come_back(settings: Settings, error: Exception, status: int, code: str) -> None:
    client = create_app(assemble(settings, plugins=[Failing(error)])).test_client()
    answer = client.post("/v1/responses", json={"model": "text", "input": "a"})

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == ("5" if status == 503 else None)
