"""Commits of a PostgreSQL store, told to other processes."""

import gc
import logging
from threading import Thread, enumerate

import pytest
from sqlalchemy import text
from support.patience import until

from router.jobs import open_database


def test_a_durable_commit_is_told_at_once(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = open_database(postgres_url), open_database(postgres_url)
    pulse = ours.pulse()
    before = pulse()
    until(
        lambda: theirs.rows(
            text("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT max(n)%' OR query LIKE 'LISTEN%'")
        )
    )
    with theirs.write() as db:
        db.execute(text("SELECT 1"))
    until(lambda: pulse() != before)

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    ours.close()
    theirs.close()


def test_the_thread_of_a_store_that_is_gone_ends(postgres_url: str) -> None:
    def listeners() -> set[Thread]:
        return {thread for thread in enumerate() if thread.name == "listener"}

    before = listeners()
    database = open_database(postgres_url)
    database.pulse()()
    assert len(listeners() - before) == 1
    del database
    gc.collect()
    until(lambda: not listeners() - before)
