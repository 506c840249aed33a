"""A check that each completed job has its whole video."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from router.doctor.finding import DoctorContext, Finding, fail, ok
from router.doctor.store import opened, path_of
from router.errors import BootError
from router.jobs.database import bare_engine

COMPLETED = """
    SELECT id, json_extract(artifact, '$.name'), json_extract(artifact, '$.size') FROM jobs
    WHERE status = 'completed' ORDER BY seq
"""
SHARED = text("""
    SELECT id, artifact::jsonb ->> 'name', CAST(artifact::jsonb ->> 'size' AS BIGINT) FROM jobs
    WHERE status = 'completed' ORDER BY seq
""")
SHOWN = 3  # paths


def check(context: DoctorContext) -> Iterator[Finding]:
    path, folder = path_of(context), context.settings.data / "videos"
    if context.settings.store:
        with suppress(SQLAlchemyError, BootError), bare_engine(context.settings.store).connect() as shared:
            yield compared(shared.execute(SHARED).all(), folder)
    elif path.exists():
        with suppress(sqlite3.Error), closing(opened(path)) as db:  # the check of the store says what is wrong
            yield videos(db, folder)


def videos(db: sqlite3.Connection, folder: Path) -> Finding:
    return compared(db.execute(COMPLETED).fetchall(), folder)


def compared(found: Iterable[Sequence[Any]], folder: Path) -> Finding:
    """Compare each completed job's video in `folder` with its recorded size."""
    rows = [(folder / job / name, size) for job, name, size in found]
    broken = [path for path, size in rows if not path.is_file() or path.stat().st_size != size]
    if not broken:
        return ok("files", f"each of {len(rows)} completed jobs has its video")
    jobs = f"{len(broken)} completed job{'s' if len(broken) > 1 else ''}"
    message = f"the video of {jobs} is gone or no longer whole: {', '.join(map(str, broken[:SHOWN]))}"
    more = ", ..." if len(broken) > SHOWN else ""
    advice = "within the hour bring them back from a copy, or make them again with the same seed"
    return fail("files", message + more, advice)
