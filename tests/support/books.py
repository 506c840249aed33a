"""The closing books: invariants of a data folder after any fault."""

import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from router.engine.retention import Retention
from router.runtime.byte_size import ByteSize
from router.settings import Settings
from router.system import assemble
from support.server import ROOT, Server

ENDED = ("completed", "failed", "cancelled")
LATER = 2 * 3600  # seconds; after one hour a half that lost the other is an orphan


@dataclass(frozen=True)
class Books:
    """Counts of jobs by their end, and of files without a row."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    strays: int = 0


def books(server: Server) -> Books:
    """Wait until every job has ended, and close the books of a running server.

    The list of the API is what the store has. Each completed job has its video, whole, and every job its inputs.
    No file is without its row; those that the README leaves to the sweeper are taken by one that comes two hours later, and
    it takes no row, nor anything else.
    """
    server.until(lambda: all(row["status"] in ENDED for row in _rows(server)))
    rows = _rows(server)
    found = listed(server)
    assert len(found) == len(rows)
    assert {video["id"] for video in found} == {f"video_{row['id']}" for row in rows}
    named = set().union(*(checked_files(server.data, row) for row in rows))
    strays = _there(server.data) - named
    sweep(server.data, server.store)
    assert _there(server.data) == named
    assert {row["id"] for row in _rows(server)} == {row["id"] for row in rows}
    counts = Counter(row["status"] for row in rows)
    assert counts.total() == len(rows)
    return Books(**counts, strays=len(strays))


def listed(server: Server) -> list[dict[str, Any]]:
    """Return every video that the API lists, page by page."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        after = f"&after={found[-1]['id']}" if found else ""
        page = server.call(f"/v1/videos?limit=100{after}")[1]
        found += page["data"]
    return found


def _rows(server: Server) -> list[dict[str, Any]]:
    engine = create_engine(server.store or f"sqlite:///file:{server.data}/jobs.sqlite?mode=ro&uri=true")
    with engine.connect() as db:
        rows = db.execute(text("SELECT id, status, artifact, failure, inputs FROM jobs")).mappings().all()
    engine.dispose()
    return [dict(row) for row in rows]


def checked_files(data: Path, row: dict[str, Any]) -> set[Path]:
    """Check the files of a row against it, and return their paths."""
    artifact = json.loads(row["artifact"] or "null")
    assert (row["status"] == "completed") == (artifact is not None)
    assert (row["status"] == "failed") == (row["failure"] is not None)
    kept = [(data / "inputs" / row["id"] / stored["name"], stored) for stored in json.loads(row["inputs"])]
    if artifact is not None:
        kept.append((data / "videos" / row["id"] / artifact["name"], artifact))
    for path, stored_as in kept:
        content = path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (stored_as["size"], stored_as["sha256"])
    return {path for path, _ in kept} | _stills(data, row["id"], artifact)


def _stills(data: Path, job: str, artifact: dict[str, Any] | None) -> set[Path]:
    """Return the small pictures beside a video."""
    stem = Path(artifact["name"]).stem if artifact else "none"
    return {path for path in (data / "videos" / job).glob(f"{stem}.*.*") if path.suffix in (".webp", ".jpg")}


def _there(data: Path) -> set[Path]:
    return {path for kind in ("inputs", "videos", "previews") for path in (data / kind).rglob("*") if path.is_file()}


def sweep(data: Path, store: str = "") -> None:
    """Sweep as a server would two hours from now."""
    whole = Settings(data=data, store=store, models=ROOT / "models.yaml", keep_bytes=ByteSize(100, "%"))
    retention = Retention(assemble(whole, serving=False), now=lambda: time.time() + LATER)
    assert retention.sweep() is not None
