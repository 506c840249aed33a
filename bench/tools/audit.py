"""Compare callers' results with the store and the data folder."""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.tools.callers import Call
from bench.tools.calls import CallResult
from bench.tools.server import query
from router.storage.artifacts import digest
from router.values import Presentation

COLUMNS = "id, status, artifact, inputs, form"
FINISHED = ("completed", "cancelled", "failed")
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Row:
    """A job in the store; `video` is its file's name, `inputs` its images' names."""

    id: str
    status: str
    video: str | None
    inputs: frozenset[str]
    call: int


@dataclass(frozen=True)
class Audit:
    """The findings, a sentence each.

    `lost`: calls without a job, and jobs that never end. `doubled`: calls with several jobs. `contradicted`:
    jobs in another state than their callers' answers, or than expected. `misplaced`: files that are missing, wrong, or
    of no job.
    """

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    contradicted: tuple[str, ...]
    misplaced: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.lost, *self.doubled, *self.contradicted, *self.misplaced)


def wait_until_finished(data: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while unfinished := [row.id for row in rows(data) if row.status not in FINISHED]:
        if time.monotonic() > deadline:
            sys.exit(f"{len(unfinished)} jobs never end, such as {unfinished[0]}")
        time.sleep(0.2)


def rows(data: Path) -> tuple[Row, ...]:
    return tuple(_row(*found) for found in query(data, f"SELECT {COLUMNS} FROM jobs"))


def audit(data: Path, results: Sequence[CallResult]) -> Audit:
    found = rows(data)
    by_call: dict[int, list[Row]] = defaultdict(list)
    for row in found:
        by_call[row.call].append(row)
    return Audit(
        lost=tuple(_lost(results, by_call)),
        doubled=tuple(_doubled(results, by_call)),
        contradicted=tuple(_contradicted(results, by_call)),
        misplaced=(*_misplaced(data, found), *_fetched(data, results, by_call)),
    )


def _row(job: str, status: str, artifact: str | None, inputs: str, form: str) -> Row:
    names = frozenset(stored["name"] for stored in json.loads(inputs))
    video = json.loads(artifact)["name"] if artifact else None
    return Row(job, status, video, names, int(Presentation.from_row(json.loads(form)).metadata["call"]))


def _lost(results: Sequence[CallResult], by_call: Mapping[int, list[Row]]) -> Iterator[str]:
    for one in results:
        ids = {row.id for row in by_call.get(one.call.number, ())}
        if one.call.fates and not ids:
            yield f"{_named(one.call)} has no job"
        if absent := one.jobs - ids:
            yield f"{_named(one.call)} was answered with {_listed(absent)}, which the store does not have"
        for row in by_call.get(one.call.number, ()):
            if row.status not in FINISHED:
                yield f"job {row.id} is {row.status} still"


def _doubled(results: Sequence[CallResult], by_call: Mapping[int, list[Row]]) -> Iterator[str]:
    for one in results:
        ids = {row.id for row in by_call.get(one.call.number, ())} | one.jobs
        if len(ids) > 1:
            yield f"{_named(one.call)} has several jobs: {_listed(ids)}"


def _contradicted(results: Sequence[CallResult], by_call: Mapping[int, list[Row]]) -> Iterator[str]:
    for one in results:
        if one.problem:
            yield f"{_named(one.call)}: {one.problem}"
        for row in by_call.get(one.call.number, ()):
            if row.status not in one.call.fates:
                wanted = _listed(one.call.fates) or "no job"
                yield f"job {row.id} of {_named(one.call)} is {row.status}, it should be {wanted}"
            elif one.status not in (None, row.status):
                yield f"{_named(one.call)} was answered {one.status}, its job {row.id} is {row.status}"


def _misplaced(data: Path, found: Sequence[Row]) -> Iterator[str]:
    wanted = {
        "videos": {row.id: {row.video} for row in found if row.video},
        "inputs": {row.id: row.inputs for row in found if row.inputs},
        "previews": {},
    }
    for row in found:
        if (row.status == "completed") is not (row.video is not None):
            yield f"job {row.id} is {row.status}, its file is {row.video}"
    for kind, folders in wanted.items():
        here = {path.name: {file.name for file in path.iterdir()} for path in (data / kind).glob("*") if path.is_dir()}
        here |= {path.name: {path.name} for path in (data / kind).glob("*") if path.is_file()}
        for name in here.keys() | folders.keys():
            has, should = here.get(name), folders.get(name)
            if has != should:
                yield f"{kind}/{name} holds {_listed(has or ()) or 'nothing'}, it should {_wanted(should)}"


def _fetched(data: Path, results: Sequence[CallResult], by_call: Mapping[int, list[Row]]) -> Iterator[str]:
    for one in results:
        for row in by_call.get(one.call.number, ()) if one.digest else ():
            file = data / "videos" / row.id / str(row.video)
            if not file.is_file() or digest(file) != one.digest:
                yield f"{_named(one.call)} fetched another video than {file.name} of job {row.id}"


def _named(call: Call) -> str:
    return f"call {call.number} ({call.kind}, {call.model}{', keyed' if call.key else ''})"


def _wanted(names: Collection[str | None] | None) -> str:
    return "not be there" if names is None else f"hold {_listed(names)}"


def _listed(names: Collection[str | None]) -> str:
    return ", ".join(sorted(map(str, names)))
