"""Engines without a heartbeat: idle ones, those of abandoned jobs, and silent keepers."""

import pytest
from support.books import books
from support.jobs import ask, attempts, completed, in_phase
from support.server import Server

from router.jobs import ClaimRequest, open_database
from router.jobs.work_queue import WorkQueue

pytestmark = pytest.mark.slow
SETTINGS = {"plugins": "sleepy.py", "cancel_seconds": 1, "renew_seconds": 0.2, "stall_idle_seconds": 2}
REPLACED = "reported nothing in phase cancelled for too long: killing it"


@pytest.mark.parametrize(("model", "way"), [("faulty", "cancel"), ("hangs", "delete")])  # in a step, in a load
def test_a_cancelled_job_that_reports_nothing(server: Server, model: str, way: str) -> None:
    before = server.log.read_text().count(REPLACED)
    job = ask(server, model, "hang")
    in_phase(server, job, "load" if model == "hangs" else "step")
    server.call(f"/v1/responses/{job['id']}/cancel", method="POST")
    if way == "delete":
        server.call(f"/v1/responses/{job['id']}", method="DELETE")
    following = ask(server, "good")

    assert completed(server, following)
    assert attempts(server, following) == ["1.mp4"]
    assert server.log.read_text().count(REPLACED) == before + 1
    assert "starting it again in" not in server.log.read_text()  # no pause
    assert books(server).failed == 0


def test_a_cancelled_job_that_reports_is_stopped_and_its_engine_stays(server: Server) -> None:
    engine = server.engine()
    job = ask(server, "slow", steps=60)
    server.in_step(job)
    server.call(f"/v1/responses/{job['id']}/cancel", method="POST")
    long = ask(server, "slow", steps=20)

    assert completed(server, long)
    assert attempts(server, long) == ["1.mp4"]
    assert server.engine() == engine
    assert books(server).failed == 0


def test_an_engine_without_a_job_that_hangs(server: Server) -> None:
    assert completed(server, ask(server, "good"))
    (server.data / "sleep idle").touch()
    assert completed(server, ask(server, "good"))

    assert completed(server, ask(server, "good"))
    assert "reported nothing in phase idle for too long: killing it" in server.log.read_text()
    assert books(server).failed == 0


def test_an_engine_whose_keeper_hangs(server: Server) -> None:
    job = ask(server, "slow", steps=30)
    server.in_step(job)
    (server.data / "sleep keeper").touch()
    lost = ask(server, "good")
    theirs = WorkQueue(open_database(server.data / "jobs.sqlite"), lease_seconds=0.2, max_attempts=3)
    assert theirs.claim("an engine that is gone", ClaimRequest(["good"])) is not None

    assert [completed(server, each) for each in (job, lost)] == [True] * 2
    assert "the keeper of the lease has done nothing for 2 s: ending this engine" in server.log.read_text()
    assert books(server).failed == 0
