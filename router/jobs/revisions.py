"""The table of published revisions of models files."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select

from registry.traits import FolderTraits, Traits
from router.jobs.database import Database
from router.jobs.rows import dump
from router.jobs.statements import UNFINISHED
from router.jobs.tables import jobs, revisions
from router.values import Revision

NEWEST = select(func.coalesce(func.max(revisions.c.n), 0))
KEPT = 20  # newest revisions, whether jobs need them or not
ORIGIN = "# models file: "  # a revision's first line; relative sources are meant from that file's folder


class RevisionStore:
    """The published revisions, numbered across all models files.

    A shared store has those of one models file, wherever each machine keeps its own copy.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self.is_shared = database.is_shared

    def lock(self) -> AbstractContextManager[Any]:
        """Keep other processes from publishing while the block runs."""
        return self._db.exclusive("revisions")

    def publish(
        self, file: Path, text: str, read_at: float, *, anew: bool = False, traits: Traits | None = None
    ) -> Revision:
        """Publish a text and traits, unless they are the newest, or `anew`.

        Returns the newest revision.
        """
        # revisions that are neither new nor needed by an unfinished job are deleted
        stored = _origin(file) + text
        digest = hashlib.sha256(stored.encode()).hexdigest()
        with self._db.write() as db:
            row = db.execute(self._of(file).limit(1)).mappings().first()
            newest = self._revision(row, file) if row is not None else None
            if newest is not None and not anew and (newest.text, newest.traits) == (text, traits):
                return newest
            values = {"created_at": read_at, "digest": digest, "text": stored, "traits": _dumped(traits)}
            row = db.execute(insert(revisions).values(values).returning(revisions)).mappings().one()
            db.execute(_unneeded(row["n"] - KEPT))
            return self._revision(row, file)

    def published(self, file: Path) -> tuple[Revision, ...]:
        """Return the revisions of `file`, newest first."""
        return tuple(self._revision(row, file) for row in self._db.rows(self._of(file)))

    def latest(self, file: Path) -> Revision | None:
        """Return the newest revision of `file`, or None."""
        return next((self._revision(row, file) for row in self._db.rows(self._of(file).limit(1))), None)

    def get(self, n: int, file: Path) -> Revision | None:
        """Return revision `n`, None if it was deleted; `file` is this process's own."""
        found = self._db.rows(select(revisions).where(revisions.c.n == n))
        return next((self._revision(row, file) for row in found), None)

    def newest(self) -> int:
        """Return the number of the newest revision, 0 without one; a cheap query."""
        with self._db.read() as db:
            return int(db.execute(NEWEST).scalar_one())

    def _of(self, file: Path) -> Any:
        newest_first = select(revisions).order_by(revisions.c.n.desc())
        origin = _origin(file)
        starts = func.substr(revisions.c.text, 1, len(origin)) == origin
        return newest_first if self.is_shared else newest_first.where(starts)

    def _revision(self, row: Mapping[Any, Any], file: Path) -> Revision:
        origin, _, text = row["text"].partition("\n")
        if not self.is_shared:
            return Revision(row["n"], Path(json.loads(origin.removeprefix(ORIGIN))), text, row["created_at"])
        return Revision(row["n"], file, text, row["created_at"], _traits(row["traits"]))


def _origin(file: Path) -> str:
    return f"{ORIGIN}{json.dumps(str(file))}\n"


def _unneeded(last: int) -> Any:
    """Return a statement that deletes revisions up to `last` without unfinished jobs."""
    needed = select(jobs.c.revision).where(jobs.c.status.in_(UNFINISHED), jobs.c.revision.is_not(None))
    return delete(revisions).where(revisions.c.n <= last, revisions.c.n.not_in(needed))


def _dumped(traits: Traits | None) -> str | None:
    return None if traits is None else dump(dict(traits))


def _traits(text: str | None) -> Traits:
    found = json.loads(text or "{}")
    return {source: _of_folder(**traits) for source, traits in found.items()}


def _of_folder(
    pipeline: str, boundary_ratio: float | None, expand_timesteps: bool, numbers: list[tuple[str, str, int]], **_: Any
) -> FolderTraits:
    return FolderTraits(pipeline, boundary_ratio, expand_timesteps, tuple((part, key, n) for part, key, n in numbers))
