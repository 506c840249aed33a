"""The table of published revisions of models files."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select

from router.jobs.database import Database
from router.jobs.statements import UNFINISHED
from router.jobs.tables import jobs, revisions
from router.values import Revision

NEWEST = select(func.coalesce(func.max(revisions.c.n), 0))
KEPT = 20  # newest revisions, whether jobs need them or not
ORIGIN = "# models file: "  # a revision's first line; relative sources are meant from that file's folder


class RevisionStore:
    """The published revisions, numbered across all models files."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def lock(self) -> AbstractContextManager[Any]:
        """Keep other processes from publishing while the block runs."""
        return self._db.exclusive("revisions")

    def publish(self, file: Path, text: str, read_at: float, *, anew: bool = False) -> Revision:
        """Publish `text` unless it is the newest revision (or `anew`); return the newest."""
        # revisions that are neither new nor needed by an unfinished job are deleted
        stored = _origin(file) + text
        digest = hashlib.sha256(stored.encode()).hexdigest()
        with self._db.write() as db:
            row = db.execute(_of(file).limit(1)).mappings().first()
            if anew or row is None or row["digest"] != digest:
                new = insert(revisions).values(created_at=read_at, digest=digest, text=stored).returning(revisions)
                row = db.execute(new).mappings().one()
                db.execute(_unneeded(row["n"] - KEPT))
            return _revision(row)

    def published(self, file: Path) -> tuple[Revision, ...]:
        """Return the revisions of `file`, newest first."""
        return tuple(map(_revision, self._db.rows(_of(file))))

    def latest(self, file: Path) -> Revision | None:
        """Return the newest revision of `file`, or None."""
        return next(map(_revision, self._db.rows(_of(file).limit(1))), None)

    def get(self, n: int) -> Revision | None:
        """Return revision `n` of any file, None if it was deleted."""
        return next(map(_revision, self._db.rows(select(revisions).where(revisions.c.n == n))), None)

    def newest(self) -> int:
        """Return the number of the newest revision, 0 without one; a cheap query."""
        with self._db.read() as db:
            return int(db.execute(NEWEST).scalar_one())


def _origin(file: Path) -> str:
    return f"{ORIGIN}{json.dumps(str(file))}\n"


def _of(file: Path) -> Any:
    origin = _origin(file)
    starts = func.substr(revisions.c.text, 1, len(origin)) == origin
    return select(revisions).where(starts).order_by(revisions.c.n.desc())


def _unneeded(last: int) -> Any:
    """Return a statement that deletes revisions up to `last` without unfinished jobs."""
    needed = select(jobs.c.revision).where(jobs.c.status.in_(UNFINISHED), jobs.c.revision.is_not(None))
    return delete(revisions).where(revisions.c.n <= last, revisions.c.n.not_in(needed))


def _revision(row: Mapping[Any, Any]) -> Revision:
    origin, _, text = row["text"].partition("\n")
    return Revision(row["n"], Path(json.loads(origin.removeprefix(ORIGIN))), text, row["created_at"])
