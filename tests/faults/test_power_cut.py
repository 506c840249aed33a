"""Power cuts: every answer is on the disk, with any part of unsynced writes."""

import json
import os
import random
import re
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.powercut import WHOLE, Call, Choose, Disk, record
from support.server import ROOT

pytestmark = pytest.mark.slow
DATA = "deep/data/"
PARTS = 4  # of what was not synced, at each answer
BETWEEN = 25  # calls from one power cut between answers to the next


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Call, ...]]:
    """Return a folder and the recorded system calls of a server."""
    folder = tmp_path_factory.mktemp("power")
    (folder / "root").mkdir()
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [str(ROOT / "tests" / "support" / "traced_server.py"), str(folder / "root"), str(folder / "marks")]
    return folder, record(command, folder / "log", **environ)


def test_what_was_answered_is_there_after_a_power_cut(calls: tuple[Path, tuple[Call, ...]]) -> None:
    assert list(losses(*calls, parts=PARTS)) == []


@pytest.mark.parametrize(
    "forgotten",
    [
        r"/jobs\.sqlite-wal",
        r"/root/deep",
        r"/deep/data",
        r"/data/inputs",
        r"/data/inputs/\w{32}",
        r"/data/inputs/\w{32}/0(\.\w{32}\.part)?",
        r"/data/videos",
        r"/data/videos/\w{32}",
        r"/data/videos/\w{32}/1(\.part)?\.mp4",
    ],
)
def test_each_sync_that_were_forgotten_would_lose_something(
    calls: tuple[Path, tuple[Call, ...]], forgotten: str
) -> None:
    folder, recorded = calls
    pattern = re.compile(rf"\d+<.*{forgotten}>")
    kept = [call for call in recorded if "sync" not in call.name or not pattern.fullmatch(call.arguments)]

    assert len(kept) < len(recorded)
    assert next(losses(folder, kept), None) is not None


def losses(folder: Path, calls: Sequence[Call], parts: int = 0) -> Iterator[str]:
    """Cut the power after each answer and between some, and return the losses.

    Once nothing that was not synced is there, once all of it, and so many times a part.
    """
    disk, chance = Disk(folder / "root"), random.Random(4)
    marks = [json.loads(line) for line in (folder / "marks").read_text().splitlines()]
    answered = 0
    for number, call in enumerate(calls):
        disk.take(call)
        answers = call.name == "write" and f"<{folder / 'marks'}>" in call.arguments
        answered += answers
        if not answers and number % BETWEEN:
            continue
        doubtful = set() if answers else {mark["job"] for mark in marks[answered:][:1] if mark["what"] == "deleted"}
        for choose in (_nothing, _everything, *(_part(chance) for _ in range(parts if answers else 0))):
            for problem in missing(folder, disk.left(choose), marks[:answered], doubtful):
                yield f"{problem} after {answered} answers"


def _nothing(number: int) -> bool:
    return False


def _everything(number: int) -> bool:
    return True


def _part(chance: random.Random) -> Choose:
    """Return a random half of the changes, the same for every file."""
    seed = chance.randbytes(4)
    return lambda number: bool(zlib.crc32(b"%d" % number, int.from_bytes(seed)) & 1)


@dataclass(frozen=True)
class Found:
    """A data folder after a power cut."""

    files: dict[str, bytes]
    rows: dict[str, dict[str, Any]]  # of jobs, by their id
    names: set[str]  # idempotency keys
    keys: dict[str, float | None]  # when each API key was revoked
    revisions: set[int]

    def has(self, answer: dict[str, Any]) -> bool:
        """Say whether an answer still holds."""
        row = self.rows.get(answer.get("job", ""), {})
        match answer["what"]:
            case "accepted":
                named = answer["key"] is None or answer["key"] in self.names
                return named and len(json.loads(row.get("inputs", "null")) or ()) == answer["inputs"] and bool(row)
            case "finished":
                return row.get("status") == "completed"
            case "cancelled":
                return row.get("status") == "cancelled"
            case "deleted":
                return not row and not any(answer["job"] in path for path in self.files)
            case "key made":
                return answer["name"] in self.keys
            case "key revoked":
                return self.keys.get(answer["name"]) is not None
            case "revision":
                return answer["n"] in self.revisions
        raise AssertionError(answer)


def missing(folder: Path, left: dict[str, bytes], answers: Sequence[dict[str, Any]], doubtful: set[str]) -> list[str]:
    """Return the answers that the remaining files contradict, and rows without files.

    Of the `doubtful` jobs nobody has said yet whether they are there.
    """
    if not answers:
        return []
    try:
        found = _found(folder, {path.removeprefix(DATA): content for path, content in left.items()})
    except sqlite3.Error as error:
        return [f"the store cannot be read: {error}"]
    hollow = [
        f"the row of {job} has lost {path}" for job, row in found.rows.items() for path in _lost(found.files, row)
    ]
    gone = doubtful | {answer["job"] for answer in answers if answer["what"] == "deleted"}
    lost = [
        each for each in answers if not found.has(each) and (each["what"] == "deleted" or each.get("job") not in gone)
    ]
    return [*hollow, *(f"lost: {each}" for each in lost)]


def _found(folder: Path, files: dict[str, bytes]) -> Found:
    """Read a store as the next process does; raise `sqlite3.Error` if it cannot."""
    for name in ("jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-journal"):
        (folder / name).unlink(missing_ok=True)
        if name in files:
            (folder / name).write_bytes(files[name])
    with closing(sqlite3.connect(f"file:{folder}/jobs.sqlite?mode=rw", uri=True)) as db:
        db.row_factory = sqlite3.Row
        if (problems := [row[0] for row in db.execute("PRAGMA quick_check")]) != ["ok"]:
            raise sqlite3.DatabaseError(problems[0])
        return Found(
            files,
            {row["id"]: dict(row) for row in db.execute("SELECT * FROM jobs")},
            {row["key"] for row in db.execute("SELECT key FROM keys")},
            {row["name"]: row["revoked_at"] for row in db.execute("SELECT * FROM api_keys")},
            {row["n"] for row in db.execute("SELECT n FROM revisions")},
        )


def _lost(files: dict[str, bytes], row: dict[str, Any]) -> list[str]:
    """Return the files of a row that are gone or torn."""
    named = [f"inputs/{row['id']}/{one['name']}" for one in json.loads(row["inputs"])]
    if row["status"] == "completed":
        named.append(f"videos/{row['id']}/{json.loads(row['artifact'])['name']}")
    return [path for path in named if files.get(path) != WHOLE]
