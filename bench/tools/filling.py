"""Stores with many jobs, of either database, by copies of one row."""

import time
from pathlib import Path

from sqlalchemy import CTE, Integer, String, cast, delete, insert, literal, select, text, true

from router.jobs import ClaimRequest, JobStore, open_database
from router.jobs.database import Database
from router.jobs.tables import changes, jobs
from router.values import Artifact, Job, Phase, Progress, Task

MODEL, ENGINE, OWNER = "still", "bench", "local"
PART = 10**9  # the first version and the ids of a series of copies
ARTIFACT = Artifact("1.mp4", "video/mp4", "0" * 64, 20_000, 64, 64, 17, 8)


def store_of(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=600, max_attempts=3, max_queued=10**7)


def filled(where: Path | str, *, finished: int = 0, queued: int = 0) -> JobStore:
    """Return a new store with these numbers of jobs."""
    database = open_database(where)
    store = store_of(database)
    done, waiting = _finished(store), store.add(job("b" * 32))
    with database.write() as db:
        for series, like, count in ((1, done, finished), (2, waiting, queued)):
            names = [column.name for column in jobs.columns if column.name != "seq"]
            n = _numbers(count)
            own = {"id": literal(f"{series}-") + cast(n.c.i, String), "version": n.c.i}
            values = [own.get(name, jobs.c[name]) for name in names]
            copies = select(*values).select_from(jobs.join(n, true())).where(jobs.c.id == like.id)
            if count:
                db.execute(insert(jobs).from_select(names, copies))
        db.execute(delete(jobs).where(jobs.c.id.in_([done.id, waiting.id])))
        if finished:  # as many changes as a store keeps
            n = _numbers(100_000)
            db.execute(insert(changes).from_select(["n", "job"], select(n.c.i + PART, cast(n.c.i, String))))
    if database.is_shared:
        with database.write() as db:
            db.execute(text("ANALYZE"))  # as autovacuum does within minutes
    return store


def claim_seconds(store: JobStore, engine: str, model: str) -> float:
    """Return the seconds of a claim; the job goes back to the queue."""
    started = time.perf_counter()
    claimed = store.claim(engine, ClaimRequest([model]))
    seconds = time.perf_counter() - started
    assert claimed is not None
    store.release(claimed[0])
    return seconds


def job(job_id: str) -> Job:
    task = Task("a red ball rolls to the right", "", 64, 64, 17, 8, 8, 4.0, None, 3.0, 7, frozenset())
    return Job(id=job_id, owner=OWNER, model=MODEL, task=task, created_at=time.time(), estimate=1.0)


def _numbers(count: int) -> CTE:
    first = select(literal(1, Integer).label("i")).cte("n", recursive=True)
    return first.union_all(select(first.c.i + 1).where(first.c.i < count))


def _finished(store: JobStore) -> Job:
    done = store.add(job("a" * 32))
    claimed = store.claim(ENGINE, ClaimRequest([MODEL]))
    assert claimed is not None
    store.report(claimed[0], Progress(Phase.STEP, 8, 8, 90))
    store.finish(claimed[0], ARTIFACT)
    return done
