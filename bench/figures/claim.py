"""The cost of claiming a job in a small and in a large store."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from bench.tools.filling import claim_seconds
from bench.tools.server import scratch_folder
from bench.tools.table import Figure, Row, quantile
from router.jobs import ClaimRequest, JobStore, open_database
from router.jobs.tables import jobs
from router.values import Artifact, Job, Phase, Progress, Task

CLAIMS = 500
ENGINE = "bench"
MODEL, OTHER = "ours", "another"
# Copies of the row `like` with other ids: a large store in a second.
COPY = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO jobs ({columns}) SELECT {values} FROM jobs, n WHERE jobs.id = :like
"""
CHANGES = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO changes (job) SELECT printf('%032x', i) FROM n
"""


@dataclass(frozen=True)
class Filling:
    """The numbers of jobs in a store; `elsewhere` are queued for another engine's model."""

    what: str
    finished: int
    elsewhere: int
    queued: int


SMALL = Filling("10 queued", 0, 0, 10)
LARGE = Filling("10,000 queued, 100,000 finished", 100_000, 0, 10_000)
BEHIND = Filling("the same, all 10,000 for another engine's model", 100_000, 10_000, 10)


def measure() -> Figure:
    with scratch_folder() as data:
        stores = {filling: _store(data / str(n), filling) for n, filling in enumerate((SMALL, LARGE, BEHIND))}
        taken: dict[Filling, list[float]] = {filling: [] for filling in stores}
        for _ in range(CLAIMS):  # alternately: other load on the machine affects all alike
            for filling, store in stores.items():
                taken[filling].append(claim_seconds(store, ENGINE, MODEL))
    medians = {filling: quantile(seconds, 0.5) for filling, seconds in taken.items()}
    return Figure(
        "claim",
        "an engine's claim of the next job",
        (
            Row("large store to small, median", medians[LARGE] / medians[SMALL], "times", 2),
            *(Row(f"{filling.what}, median", seconds * 1000, "ms") for filling, seconds in medians.items()),
            *(Row(f"{filling.what}, p99", quantile(taken[filling], 0.99) * 1000, "ms") for filling in taken),
        ),
        (f"{CLAIMS} claims each, the job given back after each",),
    )


def _store(folder: Path, filling: Filling) -> JobStore:
    path = folder / "jobs.sqlite"
    store = JobStore(open_database(path), lease_seconds=600, max_attempts=3, max_queued=10**6)
    done, elsewhere, ours = _finished(store), store.add(_job("b", OTHER)), store.add(_job("c", MODEL))
    with sqlite3.connect(path) as db:
        copies = ((done, filling.finished, 1), (elsewhere, filling.elsewhere, 2), (ours, filling.queued, 3))
        for like, count, series in copies:
            if count:
                db.execute(_copy(series), {"count": count, "like": like.id})
        db.execute("DELETE FROM jobs WHERE id IN (?, ?, ?)", [done.id, elsewhere.id, ours.id])
        if filling.finished:
            db.execute(CHANGES, {"count": filling.finished})
    return store


def _copy(series: int) -> str:
    with_own = {"id": f"printf('{series}%031x', n.i)", "version": "n.i"}
    columns = [column.name for column in jobs.columns if column.name != "seq"]
    return COPY.format(
        columns=", ".join(columns), values=", ".join(with_own.get(name, f"jobs.{name}") for name in columns)
    )


def _finished(store: JobStore) -> Job:
    job = store.add(_job("a", MODEL))
    claimed = store.claim(ENGINE, ClaimRequest([MODEL]))
    assert claimed is not None
    store.report(claimed[0], Progress(Phase.STEP, 8, 8, 90))
    store.finish(claimed[0], Artifact("1.mp4", "video/mp4", "0" * 64, 20_000, 64, 64, 17, 8))
    return job


def _job(letter: str, model: str) -> Job:
    task = Task("a red ball rolls to the right", "", 64, 64, 17, 8, 8, 4.0, None, 3.0, 7, frozenset())
    return Job(id=letter * 32, owner="local", model=model, task=task, created_at=time.time())
