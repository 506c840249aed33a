"""Retention by age and by size, and of rows or files alone."""

import os
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from registry import Input
from router.engine.retention import READ_SECONDS, YOUNG_SECONDS, Retention, Swept
from router.jobs import ClaimRequest
from router.jobs.store_move import move_store
from router.runtime.byte_size import ByteSize
from router.system import System
from router.values import Artifact, Job, StoredInput, Task

TASK = Task("a secret prompt", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
PICTURE = StoredInput("0", Input.IMAGE, "image/png", "00", 3)
AGO = 2 * YOUNG_SECONDS


def made(system: System, n: int, *, size: int = 1000, ago: float = AGO, read_ago: float = AGO) -> Job:
    """Return a finished job with an input and a video, by size and ages."""
    job = Job(f"{n:032x}", "me", "text", TASK, (PICTURE,), created_at=time.time())
    system.artifacts.put_input(job.id, "0", b"png")
    system.jobs.add(job)
    claim = system.jobs.claim("e", ClaimRequest(["text"]))
    assert claim is not None
    path = system.artifacts.part(job.id, 1, ".mp4")
    path.write_bytes(bytes(size))
    path = system.artifacts.publish(path)
    system.jobs.finish(claim[0], Artifact(path.name, "video/mp4", "00", size, 64, 64, 5, 8))
    age(system, job, ago, read_ago)
    return job


def age(system: System, job: Job, ago: float, read_ago: float) -> None:
    now = time.time()
    with sqlite3.connect(system.settings.data / "jobs.sqlite") as db:
        db.execute("UPDATE jobs SET finished_at = ? WHERE id = ?", (now - ago, job.id))
    for kind in ("inputs", "videos"):
        folder = system.settings.data / kind / job.id
        for path in (*folder.rglob("*"), *folder.parent.glob(job.id)):
            os.utime(path, (now - read_ago, now - ago))


def kept(system: System, *jobs: Job) -> list[bool]:
    """Say of each job whether it is there; a half would fail."""
    rows = [system.jobs.get(job.id, "me") is not None for job in jobs]
    for kind in ("inputs", "videos"):
        assert [(system.settings.data / kind / job.id).exists() for job in jobs] == rows
    return rows


def retention(system: System, **settings: object) -> Retention:
    return Retention(replace(system, settings=replace(system.settings, **settings)))  # type: ignore[arg-type]


def test_a_job_goes_when_it_is_old_and_with_it_all_that_it_had(system: System) -> None:
    old, young = made(system, 1, ago=2 * 86_400), made(system, 2)

    assert retention(system, keep_seconds=86_400.0).sweep() == Swept(expired=1)
    assert kept(system, old, young) == [False, True]


def test_what_was_read_longest_ago_makes_room(system: System) -> None:
    jobs = [made(system, n, size=10_000, ago=2 * AGO, read_ago=AGO + (300, 500, 400)[n]) for n in range(3)]

    assert retention(system, keep_bytes=ByteSize(21_000, "")).sweep() == Swept(evicted=1)
    assert kept(system, *jobs) == [True, False, True]


def test_what_is_being_read_and_what_has_not_finished_stays_however_full_it_is(system: System) -> None:
    read = made(system, 1, read_ago=READ_SECONDS / 2)
    waiting = Job(f"{2:032x}", "me", "text", TASK, (PICTURE,))
    system.artifacts.put_input(waiting.id, "0", bytes(5000))
    system.jobs.add(waiting)
    age(system, waiting, AGO, AGO)

    assert retention(system, keep_bytes=ByteSize(1, "")).sweep() == Swept()
    assert system.jobs.get(read.id, "me") is not None
    assert system.jobs.get(waiting.id, "me") is not None


def test_a_look_at_a_video_counts_as_reading_it(system: System) -> None:
    job = made(system, 1)
    path = system.artifacts.output(system.jobs.get(job.id, "me") or job)
    assert path is not None
    before = path.stat()
    system.artifacts.touch(path)

    assert path.stat().st_mtime == before.st_mtime
    assert time.time() - system.artifacts.usage()[job.id].read_at < 60


@pytest.mark.parametrize("kind", ["inputs", "videos", "previews"])
def test_files_without_a_row_go_once_they_are_an_hour_old(system: System, kind: str) -> None:
    ids = [f"{n:032x}" for n in (1, 2)]
    paths = []
    for job_id in ids:
        folder = system.settings.data / kind
        path = folder / f"{job_id}.jpg" if kind == "previews" else folder / job_id / "1.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        paths.append(path)
    past = time.time() - YOUNG_SECONDS - 60
    for path in (paths[0], *([paths[0].parent] if kind != "previews" else [])):
        os.utime(path, (past, past))

    assert Retention(system).sweep() == Swept(orphans=1)
    assert [path.exists() for path in paths] == [False, True]


def test_files_of_a_store_that_was_moved_stay_as_the_new_one_has_their_rows(system: System, tmp_path: Path) -> None:
    mine, theirs = made(system, 1), "f" * 32
    path = system.artifacts.part(theirs, 1, ".mp4")
    path.write_bytes(b"video")
    path = system.artifacts.publish(path)
    for each in (path, path.parent):
        os.utime(each, (time.time() - AGO, time.time() - AGO))
    move_store(system.settings.data / "jobs.sqlite", tmp_path / "new" / "jobs.sqlite")

    assert retention(system).sweep() is None
    assert path.exists()
    assert kept(system, mine) == [True]


def test_a_row_without_its_video_goes_and_a_failed_one_needs_none(system: System) -> None:
    hollow, whole, young, failed = (made(system, n) for n in range(4))
    for job in (hollow, young, failed):
        (system.settings.data / "videos" / job.id / "1.mp4").unlink()
    age(system, young, 60, 60)
    with sqlite3.connect(system.settings.data / "jobs.sqlite") as db:
        db.execute("UPDATE jobs SET status = 'failed' WHERE id = ?", (failed.id,))

    assert Retention(system).sweep() == Swept(orphans=1)
    assert [system.jobs.get(job.id, "me") is not None for job in (hollow, whole, young, failed)] == [
        False,
        True,
        True,
        True,
    ]


def test_other_files_in_the_data_folder_are_left_alone(system: System) -> None:
    stray = system.settings.data / "videos" / "holiday" / "1.mp4"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"mine")
    os.utime(stray.parent, (0, 0))
    os.utime(stray, (0, 0))

    assert Retention(system).sweep() == Swept()
    assert stray.exists()


def test_one_sweeper_at_a_time(system: System) -> None:
    made(system, 1, ago=10)
    inside, go = threading.Event(), threading.Event()

    def slow() -> float:
        inside.set()
        go.wait(10)
        return time.time()

    first = threading.Thread(target=Retention(system, now=slow).sweep)
    first.start()
    inside.wait(10)
    try:
        assert Retention(system).sweep() is None
    finally:
        go.set()
        first.join()
    assert Retention(system).sweep() == Swept()


def test_deleting_leaves_nothing_of_a_prompt_in_the_store(system: System) -> None:
    made(system, 1, ago=2 * 86_400)
    retention(system, keep_seconds=86_400.0).sweep()

    left = b"".join(path.read_bytes() for path in Path(system.settings.data).glob("jobs.sqlite*"))
    assert b"a secret prompt" not in left


def test_a_client_who_pages_may_go_on_after_a_job_that_went(system: System) -> None:
    jobs = [made(system, n, ago=2 * 86_400 if n == 1 else AGO) for n in range(3)]
    retention(system, keep_seconds=86_400.0).sweep()
    page = system.jobs.page("me", after=jobs[1].id, limit=5, newest_first=False)

    assert [job.id for job in page or ()] == [jobs[2].id]


def test_a_row_whose_video_was_cut_goes(system: System) -> None:
    cut, whole = made(system, 1), made(system, 2)
    os.truncate(system.settings.data / "videos" / cut.id / "1.mp4", 10)
    age(system, cut, AGO, AGO)

    assert Retention(system).sweep() == Swept(orphans=1)
    assert kept(system, cut, whole) == [False, True]


def test_what_dead_engines_left_of_a_job_that_has_ended_goes_and_what_it_made_stays(system: System) -> None:
    done, failed, young = (made(system, n) for n in (1, 2, 3))
    videos, previews = (system.settings.data / kind for kind in ("videos", "previews"))
    with sqlite3.connect(system.settings.data / "jobs.sqlite") as db:
        db.execute("UPDATE jobs SET status = 'failed', artifact = NULL WHERE id = ?", (failed.id,))
    for job in (done, young):
        (videos / job.id / "1.thumbnail.webp").write_bytes(b"x")
        (videos / job.id / "0.part.mp4").write_bytes(b"x")
    previews.mkdir()
    past = time.time() - AGO
    for name in (f"{done.id}.jpg", f"{failed.id}.77.part"):
        (previews / name).write_bytes(b"x")
        os.utime(previews / name, (past, past))
    age(system, done, AGO, AGO)
    age(system, failed, AGO, AGO)

    assert Retention(system).sweep() == Swept(orphans=2)
    assert sorted(path.name for path in (videos / done.id).iterdir()) == ["1.mp4", "1.thumbnail.webp"]
    assert len(list((videos / young.id).iterdir())) == 3
    assert not (videos / failed.id).exists()
    assert list(previews.iterdir()) == []
    assert all(system.jobs.get(job.id, "me") is not None for job in (done, failed, young))
