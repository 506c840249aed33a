"""Engines as processes that do nothing but claim and finish jobs."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.tools.filling import ARTIFACT, MODEL, store_of
from router.jobs import ClaimRequest, open_database

PATIENCE_SECONDS = 300
Where = Path | str

# The same claim by plain SQL: under one lock for all, and by row locks alone.
LOCK, NO_LOCK = "SELECT pg_advisory_xact_lock(1, 1)", "SELECT 1"
NEXT = """
    UPDATE jobs SET status = 'completed', attempt = attempt + 1, engine = %s, lease_until = 1 WHERE seq = (
        SELECT seq FROM jobs WHERE status = 'queued' AND model = %s
        ORDER BY priority DESC, due_at, seq LIMIT 1 {})
"""


def rate(claim: Callable[[Where, str], Iterator[None]], where: Where, engines: int) -> tuple[int, float]:
    """Return the number of claimed jobs, and that of a second.

    `claim` yields once when it is ready, then after each job until none is left.
    """
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(engines), context.SimpleQueue()
    names = [f"bench-{n}" for n in range(engines)]
    processes = [
        context.Process(target=_run, args=(claim, where, name, barrier, results), daemon=True) for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
        if process.exitcode != 0:
            raise RuntimeError(f"an engine that should claim jobs ended with {process.exitcode}")
    found = [results.get() for _ in processes]
    number = sum(each[2] for each in found)
    return number, number / (max(each[1] for each in found) - min(each[0] for each in found))


def by_store(where: Where, engine: str) -> Iterator[None]:
    """Claim jobs as an engine does."""
    store = store_of(open_database(where))
    yield
    while store.claim(engine, ClaimRequest([MODEL])):
        yield


def with_ends(where: Where, engine: str) -> Iterator[None]:
    """Claim and finish jobs as an engine does."""
    store = store_of(open_database(where))
    yield
    while claimed := store.claim(engine, ClaimRequest([MODEL])):
        store.finish(claimed[0], ARTIFACT)
        yield


def by_one_lock(where: Where, engine: str) -> Iterator[None]:
    """Claim jobs by plain SQL, one engine after the other."""
    return _by_sql(str(where), engine, LOCK, "")


def by_row_locks(where: Where, engine: str) -> Iterator[None]:
    """Claim jobs by plain SQL, each engine beside the others."""
    return _by_sql(str(where), engine, NO_LOCK, "FOR UPDATE SKIP LOCKED")


def _by_sql(where: str, engine: str, begin: str, end: str) -> Iterator[None]:
    import psycopg

    claim = NEXT.format(end)
    with psycopg.connect(where.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        yield
        while True:
            with connection.transaction():
                connection.execute(begin)
                number = connection.execute(claim, (engine, MODEL)).rowcount
            if not number:
                return
            yield


def _run(claim: Callable[[Where, str], Iterator[None]], where: Where, engine: str, barrier: Any, results: Any) -> None:
    claims = claim(where, engine)
    next(claims)
    barrier.wait(PATIENCE_SECONDS)
    started = time.monotonic()
    number = sum(1 for _ in claims)
    results.put((started, time.monotonic(), number))
