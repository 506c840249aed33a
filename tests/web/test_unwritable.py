"""What callers are told while nothing can be written."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from router import hookimpl
from router.settings import Settings
from router.system import assemble
from router.web import create_app


class Failing:
    """A policy that raises what a write would."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @hookimpl
    def check_request(self) -> None:
        raise self.error


def sql(said: str, value: str = "") -> OperationalError:
    return OperationalError("INSERT INTO jobs VALUES (?)", [value], sqlite3.OperationalError(said))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, "no room"), 503, "disk_full"),
        (sql("database or disk is full"), 503, "disk_full"),
        (OSError(errno.EROFS, "read-only"), 503, "store_unavailable"),
        (sql("database is locked"), 503, "store_unavailable"),
        (sql("attempt to write a readonly database"), 503, "store_unavailable"),
        (sql("no such table: jobs", "a prompt: database is locked"), 500, "internal_error"),
    ],
    ids=str,
)
def test_who_asks_is_told_when_to_come_back(settings: Settings, error: Exception, status: int, code: str) -> None:
    client = create_app(assemble(settings, plugins=[Failing(error)])).test_client()
    answer = client.post("/v1/responses", json={"model": "text", "input": "a"})

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == ("5" if status == 503 else None)
