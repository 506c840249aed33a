"""Sweeps of machines that share a store, and of their folders."""

import os
import time
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text
from support.machines import Machines

from registry import Input
from router.engine.retention import YOUNG_SECONDS, Retention, Swept
from router.jobs import ClaimRequest
from router.runtime.byte_size import ByteSize
from router.system import System
from router.values import Artifact, Job, StoredInput, Task

Pair = tuple[System, System]
TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
PICTURE = StoredInput("0", Input.IMAGE, "image/png", "00", 3)
AGO = 2 * YOUNG_SECONDS


def made(system: System, n: int) -> Job:
    """Return a job that finished long ago, with files in the machine's folder."""
    job = Job(f"{n:032x}", "me", "text", TASK, (PICTURE,), created_at=time.time())
    system.artifacts.put_input(job.id, "0", b"png")
    system.jobs.add(job)
    claimed = system.jobs.claim("e", ClaimRequest(["text"]))
    assert claimed is not None
    path = system.artifacts.part(job.id, 1, ".mp4")
    path.write_bytes(bytes(1000))
    path = system.artifacts.publish(path)
    system.jobs.finish(claimed[0], Artifact(path.name, "video/mp4", "00", 1000, 64, 64, 5, 8))
    with system.database.write() as db:
        db.execute(text("UPDATE jobs SET finished_at = :at WHERE id = :id"), {"at": time.time() - AGO, "id": job.id})
    for path in files(system, job):
        os.utime(path, (time.time() - AGO, time.time() - AGO))
    return job


def files(system: System, job: Job) -> list[Path]:
    folders = [system.settings.data / kind / job.id for kind in ("inputs", "videos")]
    return [path for folder in folders if folder.exists() for path in (*folder.rglob("*"), folder)]


def kept(job: Job, *systems: System) -> bool:
    """Say whether the row of a job is there, and all of its files."""
    row = systems[0].jobs.get(job.id, None)
    return row is not None and all(len(files(system, job)) == 4 for system in systems)


def test_a_machine_with_a_folder_of_its_own_removes_nothing_of_the_others(pair: Pair) -> None:
    one, two = pair
    jobs = made(one, 1), made(two, 2)
    for system in (one, two, one):
        assert Retention(system).sweep() == Swept()

    assert kept(jobs[0], one)
    assert kept(jobs[1], two)


def test_a_full_disk_removes_only_videos_that_are_on_it(pair: Pair) -> None:
    one, two = pair
    mine, theirs = made(one, 1), made(two, 2)
    one.artifacts.put_input(theirs.id, "0", bytes(5000))  # the web half of this machine took the request
    for path in files(one, theirs):
        os.utime(path, (1.0, time.time() - AGO))
    full = replace(one, settings=replace(one.settings, keep_bytes=ByteSize.parse("1")))

    assert Retention(full).sweep() == Swept(evicted=1)
    assert one.jobs.get(mine.id, None) is None
    assert kept(theirs, two)


def test_machines_with_a_common_folder_sweep_it_as_one(machines: Machines) -> None:
    common = machines.folder / "common"
    systems = [machines.start(name) for name in ("one", "two")]
    for system in systems:
        for kind in ("inputs", "videos"):
            (common / kind).mkdir(parents=True, exist_ok=True)
            (system.settings.data / kind).symlink_to(common / kind)
    old, stray = made(systems[0], 1), made(systems[1], 2)
    assert kept(old, *systems)
    assert Retention(systems[0], now=lambda: time.time() - 3 * AGO).sweep() == Swept()  # the first one of the store
    with systems[0].database.write() as db:
        db.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": stray.id})

    assert Retention(systems[1]).sweep() == Swept(orphans=1)
    assert files(systems[0], stray) == []
    brief = replace(systems[1], settings=replace(systems[1].settings, keep_seconds=60))
    assert Retention(brief).sweep() == Swept(expired=1)
    assert files(systems[0], old) == []


def test_one_machine_sweeps_at_a_time(pair: Pair) -> None:
    with pair[0].database.exclusive_if_free("sweep") as is_free:
        assert is_free
        assert Retention(pair[1]).sweep() is None

    assert Retention(pair[1]).sweep() == Swept()


def test_files_of_a_store_before_stay_beside_an_empty_one(pair: Pair) -> None:
    job = made(pair[0], 1)
    with pair[0].database.write() as db:
        db.execute(text("DELETE FROM jobs"))  # as where the store of this folder has not been moved yet

    for _ in range(2):
        assert Retention(pair[0]).sweep() == Swept()
    assert len(files(pair[0], job)) == 4
