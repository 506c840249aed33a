"""The closing books of a store of many machines: invariants after any fault."""

from collections import Counter
from typing import Any

from support.books import checked_files
from support.machines import Site
from support.patience import until

JOBS = "SELECT id, status, attempt, version, engine, lease_until, artifact, failure, inputs FROM jobs"
COLUMNS = ("id", "status", "attempt", "version", "engine", "lease_until", "artifact", "failure", "inputs")
UNFINISHED = "SELECT id, status, attempt, engine FROM jobs WHERE status IN ('queued', 'in_progress')"
END_SECONDS = 180.0  # for the jobs that are left when the faults are over


def completed_jobs(site: Site) -> set[str]:
    """Wait until every job has ended; return the jobs after a check of all rows and files.

    Each is completed, nothing of its lease is left, and its files have the digests of its row.
    """
    until(lambda: not site.store.rows(UNFINISHED), END_SECONDS)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in site.store.rows(JOBS)]
    assert [row for row in rows if row["status"] != "completed"] == []
    assert [row for row in rows if (row["engine"], row["lease_until"]) != (None, None)] == []
    for row in rows:
        assert checked_files(site.folder, row)
    _check_attempts(site, rows)
    _check_changes(site, rows)
    return {row["id"] for row in rows}


def _check_attempts(site: Site, rows: list[dict[str, Any]]) -> None:
    """Check that each attempt is booked once, and each job once as completed."""
    until(lambda: not site.store.rows("SELECT job, attempt, engine FROM attempts"))
    booked = Counter[str]()
    for outcome, attempts in site.store.rows("SELECT outcome, attempts FROM ledger WHERE outcome <> 'load'"):
        booked[outcome] += attempts
    assert set(booked) <= {"completed", "lost"}, booked
    assert booked["completed"] == len(rows), booked
    assert booked.total() == sum(row["attempt"] for row in rows), booked


def _check_changes(site: Site, rows: list[dict[str, Any]]) -> None:
    """Check that the change log has no gap, and every job's last change."""
    numbers = site.store.rows("SELECT n, job FROM changes ORDER BY n")
    assert [n for n, _ in numbers] == list(range(1, len(numbers) + 1))
    last = {job: n for n, job in numbers}
    assert {row["id"]: row["version"] for row in rows} == last
    until(lambda: not site.store.rows("SELECT job, process FROM waiters"))
