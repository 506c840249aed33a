"""The closing books of a store of many machines: invariants after any fault."""

from collections import Counter
from typing import Any

from support.books import checked_files
from support.patience import until
from support.three_machines import Site

JOBS = "SELECT id, status, attempt, version, engine, lease_until, artifact, failure, inputs FROM jobs"
COLUMNS = ("id", "status", "attempt", "version", "engine", "lease_until", "artifact", "failure", "inputs")
UNFINISHED = "SELECT id, status, attempt, engine FROM jobs WHERE status IN ('queued', 'in_progress')"
END_SECONDS = 180.0  # for what is left when faults are over


def completed_jobs(site: Site) -> set[str]:
    """Return all jobs when they have ended, after a check of rows and files.

    Each is completed, nothing of its lease is left, and its files have the digests of its row.
    """
    until(lambda: not site.store.rows(UNFINISHED), END_SECONDS)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in site.store.rows(JOBS)]
    wrong = [row for row in rows if (row["status"], row["engine"], row["lease_until"]) != ("completed", None, None)]
    assert not wrong, wrong
    for row in rows:
        assert checked_files(site.folder, row), row
    _check_attempts(site, rows)
    _check_changes(site, rows)
    return {row["id"] for row in rows}


def _check_attempts(site: Site, rows: list[dict[str, Any]]) -> None:
    """Check that each attempt is booked once, and each job once as completed."""
    until(lambda: not site.store.rows("SELECT job, attempt, engine FROM attempts"))
    booked = Counter[str]()
    for outcome, number in site.store.rows("SELECT outcome, attempts FROM ledger WHERE outcome <> 'load'"):
        booked[outcome] += number
    assert set(booked) <= {"completed", "lost"}, booked
    attempts = sum(row["attempt"] for row in rows)
    assert (booked["completed"], booked.total()) == (len(rows), attempts), (booked, len(rows), attempts)


def _check_changes(site: Site, rows: list[dict[str, Any]]) -> None:
    """Check that the change log has no gap, and every job's last change."""
    numbers = site.store.rows("SELECT n, job FROM changes ORDER BY n")
    gaps = {*range(1, len(numbers) + 1)}.symmetric_difference(n for n, _ in numbers)
    assert not gaps, gaps
    last = {job: n for n, job in numbers}
    assert last == {row["id"]: row["version"] for row in rows}
    until(lambda: not site.store.rows("SELECT job, process FROM waiters"))
