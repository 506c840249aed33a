"""Checks of the job store; nothing is migrated."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from router.doctor import shared_store
from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.doctor.revision import compared
from router.jobs.database import require_store
from router.jobs.tables import FACTS_SINCE

BUSY_SECONDS = 5.0


def path_of(context: DoctorContext) -> Path:
    return context.settings.data / "jobs.sqlite"


def check(context: DoctorContext) -> Iterator[Finding]:
    if context.settings.store:
        yield from shared_store.check(context.settings)
        return
    path = path_of(context)
    if not path.exists():
        yield ok("store", f"{path} is not there yet: the first start makes it")
        return
    try:
        require_store(path)
        with closing(opened(path)) as db:
            yield revision(db, path)
            yield whole(db, path)
            yield free(db, path)
    except (sqlite3.Error, OSError) as error:
        advice = "see that this user may read and write it and its folder; else stop the server and bring back a copy"
        yield fail("store", f"{path} cannot be read: {error}", advice)


def opened(path: Path, timeout: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Connect without creating a file; wait `timeout` seconds for other writers."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout, isolation_level=None)


def revision(db: sqlite3.Connection, path: Path) -> Finding:
    known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    found = str(db.execute("SELECT version_num FROM alembic_version").fetchone()[0]) if known else "none"
    facts = dict(db.execute("SELECT name, value FROM facts")) if found >= FACTS_SINCE and known else {}
    return compared(str(path), found, facts)


def whole(db: sqlite3.Connection, path: Path) -> Finding:
    problems = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        advice = f"stop the server; sqlite3 {path} .recover | sqlite3 mended.sqlite saves what can be read"
        return fail("store", f"{path} is damaged: {'; '.join(problems)}", advice)
    (mode,) = db.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        return warn("store", f"{path} is whole, its journal is {mode} and not wal", "the next start sets it")
    return ok("store", f"{path} is whole")


def free(db: sqlite3.Connection, path: Path) -> Finding:
    """Take the write lock and release it."""
    try:
        # the only test that another process's lock or a read-only disk cannot pass
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        advice = f"see who has it open: fuser -v {path}"
        if "locked" in str(error):
            return fail("store", f"{path} cannot be written: somebody else is writing all the time", advice)
        return fail("store", f"{path} cannot be written: {error}", "give it and its folder to this user (chown)")
    return ok("store", f"{path} can be written")
