"""The disk reserve: a full disk only stores ends of jobs and deletions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from support.disks import disk, full

from registry import Input
from router.auth.keys import KeyLimits, Scope, new_key, new_text
from router.errors import BootError, is_disk_full
from router.jobs import ApiKeyStore, Archive, ClaimRequest, EngineStore, JobStore, open_database
from router.jobs.database.disk_reserve import Reserve
from router.values import Artifact, EngineState, Failure, Job, Lease, Phase, Progress, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
RUNS, WAITS, DONE = (f"{n:032x}" for n in range(3))


@dataclass(frozen=True)
class Stored:
    """A store on a small disk: jobs running, waiting and finished."""

    data: Path
    jobs: JobStore
    keys: ApiKeyStore
    archive: Archive
    engines: EngineStore
    lease: Lease


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    with disk(tmp_path / "data") as data:
        database = open_database(data / "jobs.sqlite")
        jobs = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)
        keys = ApiKeyStore(database)
        keys.add(new_key(new_text(), "somebody", "somebody", [Scope.READ]))
        jobs.add(Job(DONE, "me", "m", TASK))
        done = jobs.claim("e", ClaimRequest(["m"]))
        assert done is not None
        jobs.finish(done[0], Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8))
        jobs.add(Job(RUNS, "me", "m", TASK))
        found = jobs.claim("e", ClaimRequest(["m"]))
        assert found is not None
        jobs.add(Job(WAITS, "me", "m", TASK))
        engines = EngineStore(database, lease_seconds=30)
        engines.heartbeat(EngineState("e", "cpu", 1, ("m",), (), RUNS))
        database.reserve.keep()
        yield Stored(data, jobs, keys, Archive(database), engines, found[0])
        database.close()


ENDS: dict[str, Callable[[Stored], object]] = {
    "finish": lambda s: s.jobs.finish(s.lease, Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)),
    "fail": lambda s: s.jobs.fail(s.lease, Failure("disk_full", "full")),
    "release": lambda s: s.jobs.release(s.lease),
    "renew": lambda s: s.jobs.renew(s.lease),
    "cancel": lambda s: s.jobs.cancel(WAITS, "me"),
    "delete": lambda s: s.jobs.delete(RUNS, "me"),
    "forget": lambda s: s.archive.forget(DONE),
    "revoke": lambda s: s.keys.revoke("somebody"),
    "drain": lambda s: s.engines.drain("e", draining=True),
    "limit": lambda s: s.keys.limit("somebody", KeyLimits(queued=1)),
}
BEGINS: dict[str, Callable[[Stored], object]] = {
    "add": lambda s: s.jobs.add(Job("f" * 32, "me", "m", TASK)),
    "claim": lambda s: s.jobs.claim("other", ClaimRequest(["m"])),
    "report": lambda s: s.jobs.report(s.lease, Progress(Phase.STEP, 1, 2, 50)),
    "a key": lambda s: s.keys.add(new_key(new_text(), "another", "another", [Scope.READ])),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_ends_something_is_stored_on_a_full_disk(stored: Stored, end: Callable[[Stored], object]) -> None:
    with full(stored.data):
        assert end(stored)
        assert not (stored.data / "reserve").exists()


@pytest.mark.parametrize("begin", BEGINS.values(), ids=BEGINS)
def test_what_begins_something_leaves_the_reserve_alone(stored: Stored, begin: Callable[[Stored], object]) -> None:
    with full(stored.data):
        with pytest.raises(OperationalError) as refused:
            begin(stored)
        assert is_disk_full(refused.value)
        assert (stored.data / "reserve").exists()


def test_it_is_enough_for_as_many_as_there_are(stored: Stored) -> None:
    """The store's log restarts within the reserve."""
    ids = [f"{n:032x}" for n in range(16, 600)]
    for each in ids:
        stored.jobs.add(Job(each, "me", "m", TASK))
    with full(stored.data):
        for each in ids:
            assert stored.jobs.cancel(each, "me")
            assert stored.jobs.delete(each, "me")


def test_others_that_want_the_room_do_not_get_it(stored: Stored) -> None:
    with full(stored.data) as fill:
        for end in (ENDS["renew"], ENDS["cancel"], ENDS["finish"], ENDS["forget"], ENDS["revoke"]):
            assert end(stored)
            fill()


def test_without_one_the_disk_is_full(stored: Stored) -> None:
    (stored.data / "reserve").unlink()
    with full(stored.data):
        with pytest.raises(OperationalError) as refused:
            stored.jobs.cancel(WAITS, "me")
        assert is_disk_full(refused.value)

    assert stored.jobs.cancel(WAITS, "me")


def test_it_is_kept_anew_once_there_is_plenty(tmp_path: Path) -> None:
    with disk(tmp_path / "data", "12m") as data:
        reserve = Reserve(data / "jobs.sqlite")
        with full(data, leave=6 * 2**20):
            reserve.keep()
            assert not (data / "reserve").exists()
        reserve.keep()

        found = (data / "reserve").stat()
        assert found.st_blocks * 512 >= found.st_size > 2**20


def test_one_that_was_killed_at_its_making_is_made_anew(tmp_path: Path) -> None:
    with disk(tmp_path / "data") as data:
        (data / "reserve").touch()
        Reserve(data / "jobs.sqlite").keep()

        assert (data / "reserve").stat().st_size > 2**20


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """Make a store with a waiting job on a full disk; close it."""
    with disk(tmp_path / "data") as data:
        database = open_database(data / "jobs.sqlite")
        JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000).add(Job(WAITS, "me", "m", TASK))
        database.reserve.keep()
        with full(data) as fill:
            database.close()
            fill()
            yield data


def test_a_store_that_nobody_has_open_is_opened_on_a_full_disk(closed: Path) -> None:
    database = open_database(closed / "jobs.sqlite")

    jobs = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)
    assert jobs.cancel(WAITS, "me")
    database.close()


def test_without_a_reserve_it_is_not_and_that_is_said_in_one_line(closed: Path) -> None:
    (closed / "reserve").rename(closed / "others")
    with pytest.raises(BootError, match="cannot be opened"):
        open_database(closed / "jobs.sqlite")
