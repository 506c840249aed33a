"""A store for many machines: PostgreSQL beside SQLite, by the same jobs."""

import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures.waiting import MODELS, ask
from bench.tools.claimers import Where, by_one_lock, by_row_locks, by_store, rate, with_ends
from bench.tools.filling import ENGINE, MODEL, OWNER, claim_seconds, filled, job, store_of
from bench.tools.postgresql import postgresql
from bench.tools.server import scratch_folder, serve, serve_web
from bench.tools.table import Figure, Row, quantile, spread
from router.jobs import JobStore, open_database
from router.jobs.job_filter import ALL_JOBS, JobFilter
from router.values import Status
from router.web.waiting.waiters import TICK_SECONDS

STARTS = 200
ENGINES, CLAIMED, ROUNDS = 8, 2000, 3
MACHINES, WAITING, CALLERS, SECONDS = 2, 1000, 20, 10.0
FINISHED, EACH, PAGE = 1_000_000, 50, 20
CHANGE_SECONDS = 0.01
CHANGE = "INSERT INTO changes (n, job) SELECT max(n) + 1, 'another' FROM changes; NOTIFY framegate"
PATIENCE_SECONDS = 60
BOTH = ("PostgreSQL", "SQLite")


def measure() -> Figure:
    with postgresql() as server, scratch_folder() as folder:
        stores = _Stores(server, folder)
        return Figure(
            "shared",
            "a store on PostgreSQL, which many machines can share, beside one on SQLite",
            (*_starts(stores), *_claims(stores), *_locks(stores), *_waiters(server, stores), *_sizes(stores)),
            (
                f"{STARTS} jobs on each store, one after the other, for an engine that waits",
                f"{ENGINES} engine processes claim {CLAIMED:,} jobs, or claim and finish them; medians of {ROUNDS} "
                "rounds in turns",
                f"{WAITING:,} synchronous requests on {MACHINES} web halves with a folder each; PostgreSQL counts its "
                f"transactions for {SECONDS:.0f} s, a tick is {TICK_SECONDS * 1000:.0f} ms",
                f"{FINISHED:,} finished jobs, and none; medians of {EACH} looks in turns",
                "PostgreSQL, engines and web halves share the cores and the disk",
            ),
        )


class _Stores:
    """New stores of both databases, by the database's name."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def new(self, kind: str) -> Where:
        name = f"bench_{uuid.uuid4().hex}"
        return self._server.create(name) if kind == "PostgreSQL" else self._folder / name / "jobs.sqlite"


def _starts(stores: _Stores) -> Iterator[Row]:
    """Yield the time from the call of `add` to the start of the job."""
    with ExitStack() as running:
        found = {}
        for kind in BOTH:
            url = {"store": stores.new(kind)} if kind == "PostgreSQL" else {}
            server = running.enter_context(serve(MODELS, workers=1, **url))
            found[kind] = store_of(open_database(url.get("store", server.data / "jobs.sqlite")))
        seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in BOTH}
        for _ in range(STARTS):
            for kind, store in found.items():
                seconds[kind].append(_start(store))
    for kind, targets in ((BOTH[0], {"p50": 15, "p99": 60}), (BOTH[1], {})):
        yield from spread(f"{kind}, from adding a job to its start", [start for _, start in seconds[kind]], **targets)
        yield Row(f"{kind}, adding a job, p50", quantile([added for added, _ in seconds[kind]], 0.5) * 1000, "ms")


def _start(store: JobStore) -> tuple[float, float]:
    """Return the seconds of the call, and those to the start."""
    called = time.time()
    new = store.add(job(uuid.uuid4().hex))
    added = time.time()
    done = _until(lambda: (found := store.get(new.id, OWNER)) and found.status.finished and found)
    assert done.status is Status.COMPLETED, done.failure
    time.sleep(0.05)  # the engine waits again
    return added - called, done.started_at - called


def _claims(stores: _Stores) -> Iterator[Row]:
    for way, what, least in ((by_store, "claims", 100), (with_ends, "jobs claimed and finished", None)):
        calls = {kind: lambda way=way, kind=kind: _rate(way, stores.new(kind)) for kind in BOTH}
        for kind, found in _rounds(calls).items():
            yield Row(f"{kind}, {ENGINES} engines, {what}", found, "/s", least=least if kind == BOTH[0] else None)


def _locks(stores: _Stores) -> Iterator[Row]:
    ways = {"one lock": by_one_lock, "FOR UPDATE SKIP LOCKED": by_row_locks}
    calls = {name: lambda way=way: _rate(way, stores.new("PostgreSQL")) for name, way in ways.items()}
    for name, found in _rounds(calls).items():
        yield Row(f"PostgreSQL, {ENGINES} engines, claims of plain SQL by {name}", found, "/s")


def _rounds(calls: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Return the median of each, called in turns."""
    found = [{name: call() for name, call in calls.items()} for _ in range(ROUNDS)]
    return {name: median(each[name] for each in found) for name in calls}


def _rate(way: Callable[[Where, str], Iterator[None]], where: Where) -> float:
    filled(where, queued=CLAIMED)
    number, found = rate(way, where, ENGINES)
    if number != CLAIMED:
        raise RuntimeError(f"{CLAIMED} jobs should be claimed once, got {number} claims")
    return found


def _waiters(server: Any, stores: _Stores) -> Iterator[Row]:
    where = str(stores.new("PostgreSQL"))
    database = open_database(where)
    with ExitStack() as running:
        webs = []
        for n in range(MACHINES):
            data = running.enter_context(scratch_folder())
            webs.append(running.enter_context(serve_web(data, MODELS, workers=1, store=where, host=f"bench-{n}")))
        store = store_of(database)
        for n in range(WAITING):
            running.enter_context(ask(webs[n % MACHINES].port))
            if n % CALLERS == 0 or n + 1 == WAITING:
                _until(lambda n=n: sum(store.counts().values()) == n + 1)
        time.sleep(2)
        for what, busy in (("nothing happens", False), ("other jobs change", True)):
            queries = _queries(server, where, busy=busy) / MACHINES * TICK_SECONDS
            yield Row(f"{WAITING:,} waiting, queries in a tick of a machine while {what}", queries, "", 1)
    database.close()


def _queries(server: Any, where: str, *, busy: bool) -> float:
    """Return the transactions of others per second.

    This process logs changes meanwhile if `busy`.
    """
    import psycopg

    with psycopg.connect(where.replace("+psycopg", ""), autocommit=True) as connection:
        before, started, ours = _transactions(server, where), time.monotonic(), 0
        while time.monotonic() < started + SECONDS:
            time.sleep(CHANGE_SECONDS)
            if busy:
                connection.execute(CHANGE)
                ours += 1
        seconds = time.monotonic() - started
    time.sleep(2)  # sessions report their transactions once a second
    return (_transactions(server, where) - before - ours) / seconds


def _transactions(server: Any, where: str) -> int:
    name = where.rpartition("/")[2]
    counted = f"SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{name}'"
    return int(server.psql(counted)[0][0])


def _sizes(stores: _Stores) -> Iterator[Row]:
    for kind in BOTH:
        small, large = (filled(stores.new(kind), finished=finished, queued=10) for finished in (PAGE, FINISHED))
        for what, look in LOOKS.items():
            found: dict[JobStore, list[float]] = {small: [], large: []}
            for _ in range(EACH):
                for store, seconds in found.items():
                    seconds.append(look(store))
            before, after = (median(seconds) for seconds in found.values())
            yield Row(
                f"{kind}, {what}: {FINISHED:,} finished jobs to {PAGE}",
                after / before,
                "times",
                None if look is _none else 2,
            )
            yield Row(f"{kind}, {what}, median", after * 1000, "ms")


def _page(store: JobStore, shown: JobFilter) -> float:
    started = time.perf_counter()
    store.page(OWNER, after=None, limit=PAGE, newest_first=True, shown=shown)
    return time.perf_counter() - started


def _none(store: JobStore) -> float:
    return _page(store, JobFilter(statuses=frozenset({Status.FAILED})))  # looks at every job of the owner


LOOKS: Mapping[str, Callable[[JobStore], float]] = {
    "a claim": partial(claim_seconds, engine=ENGINE, model=MODEL),
    "a page": partial(_page, shown=ALL_JOBS),
    "a page of completed jobs": partial(_page, shown=JobFilter(statuses=frozenset({Status.COMPLETED}))),
    "a page of a model": partial(_page, shown=JobFilter(models=frozenset({MODEL}))),
    "a page by a word of the prompt": partial(_page, shown=JobFilter(words=("ball",))),
    "a page of failed jobs, of which there are none": _none,
}


def _until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        if time.monotonic() > deadline:
            sys.exit(f"waited {PATIENCE_SECONDS} s in vain")
        time.sleep(0.02)
    return found
