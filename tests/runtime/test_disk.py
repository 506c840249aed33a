"""The lower limit of free disk space, and a store that cannot be written."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import leftovers
from flask.testing import FlaskClient
from support.patience import until
from support.prometheus import Scraped

from router.doctor import disk as doctor
from router.engine.worker import Worker
from router.errors import Unavailable
from router.jobs import write_probe
from router.jobs.database.sqlite import SqliteDatabase
from router.runtime.byte_size import ByteSize
from router.runtime.disk import Disk
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

ALL = ByteSize(100, "%")  # which no disk has


@pytest.fixture
def short(settings: Settings) -> System:
    return assemble(replace(settings, min_free=ALL))


def test_a_disk_below_its_mark_takes_no_job_and_one_above_does(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as refused:
        Disk(tmp_path, ALL).require()

    assert (refused.value.status, refused.value.code) == (503, "disk_full")
    assert dict(refused.value.headers) == {"retry-after": "30"}
    assert str(tmp_path) not in refused.value.message
    Disk(tmp_path, ByteSize(1, "B")).require()
    Disk(tmp_path, ByteSize(0, "%")).require()


def test_a_request_is_refused_before_anything_is_stored(short: System) -> None:
    client = create_app(short).test_client()
    answer = client.post("/v1/responses", json={"model": "text", "input": "a"})

    assert (answer.status_code, answer.json["error"]["code"]) == (503, "disk_full")
    assert answer.headers["retry-after"] == "30"
    assert short.jobs.newest() == 0
    assert leftovers(short) == []


def test_a_request_that_was_accepted_before_is_answered_with_its_job(system: System, short: System) -> None:
    body, key = {"model": "text", "input": "a", "background": True}, {"idempotency-key": "mine"}
    first = create_app(system).test_client().post("/v1/responses", json=body, headers=key)
    again = create_app(short).test_client().post("/v1/responses", json=body, headers=key)

    assert (again.status_code, again.json["id"]) == (200, first.json["id"])


def test_readiness_and_the_doctor_say_what_is_free_and_what_was_needed(short: System, worker: Worker) -> None:
    answer = create_app(short).test_client().get("/readyz")

    assert (answer.status_code, answer.json["status"]) == (503, "disk full")
    assert "of the disk are free, FRAMEGATE_MIN_FREE is" in answer.json["reason"]
    found = doctor.reserve(short.settings.data, ALL)
    assert (found.level, found.message) == ("fail", f"new jobs are refused: {answer.json['reason']}")
    assert doctor.reserve(short.settings.data, ByteSize(0, "B")).level == "ok"


def test_an_engine_goes_on_below_the_mark(system: System, short: System, worker: Worker) -> None:
    client = create_app(system).test_client()
    job = client.post("/v1/responses", json={"model": "slow", "input": "a"}).json

    assert job["status"] == "completed"
    assert create_app(short).test_client().delete(f"/v1/responses/{job['id']}").status_code == 200


def test_the_free_bytes_are_a_metric(client: FlaskClient, system: System) -> None:
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"})

    assert Scraped(answer.text).value("framegate_disk_free_bytes") == pytest.approx(system.disk.free, rel=0.2)
    assert system.disk.free > 0


def test_the_store_is_tried_at_most_every_few_seconds(client: FlaskClient, system: System, worker: Worker) -> None:
    until(lambda: client.get("/readyz").json["status"] == "ready")
    pulse, seen, started = system.jobs.pulse(), set(), time.monotonic()
    for _ in range(50):
        assert client.get("/readyz").status_code == 200
        seen.add(pulse())
    taken = time.monotonic() - started

    # each try is a commit, and so is each heartbeat of the engine: every 0.2 seconds two of them
    assert len(seen) <= 2 + taken / write_probe.KNOWN_SECONDS + 3 * taken / 0.2


def test_a_store_that_cannot_be_written_is_not_ready_and_recovers(settings: Settings, worker: Worker) -> None:
    database = SqliteDatabase(settings.data / "jobs.sqlite")
    tried = write_probe.Probe(database)
    assert tried.problem() is None
    os_path = settings.data / "jobs.sqlite"
    moved = os_path.rename(os_path.with_name("moved"))
    broken = write_probe.Probe(database)
    assert broken.problem() == "unable to open database file"
    moved.rename(os_path)
    assert broken.problem() == "unable to open database file"  # for a few seconds
    deadline = time.monotonic() + 60
    while broken.problem() and time.monotonic() < deadline:
        time.sleep(0.1)

    assert broken.problem() is None
    assert not os_path.with_name("moved").exists()


def test_one_thread_tries_while_the_others_take_its_last_answer(tmp_path: Path, system: System) -> None:
    """A store that is locked makes one of them wait, however many ask."""
    path = system.settings.data / "jobs.sqlite"
    tried = write_probe.Probe(system.database)
    tried.problem()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert tried.problem() is None  # known
        assert write_probe.Probe(system.database).problem() == "database is locked"
        db.execute("ROLLBACK")


def test_a_disk_that_does_not_answer_takes_no_job(tmp_path: Path) -> None:
    gone = Disk(tmp_path / "unmounted", ByteSize(0, ""))

    assert gone.free == 0
    assert "does not answer" in (gone.shortage() or "")
    with pytest.raises(Unavailable):
        gone.require()
