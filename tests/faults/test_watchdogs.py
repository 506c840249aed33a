"""Engines that hang or die in a backend: the cost, and the job's message."""

import time
from collections.abc import Callable

import pytest
from support.books import Books, books
from support.jobs import ask, attempts, completed, failed
from support.server import Server

pytestmark = pytest.mark.slow
Start = Callable[..., Server]


def test_a_backend_that_hangs_once(start: Start) -> None:
    server = start(stall_step_seconds=1)
    job = ask(server, "faulty", "hang once")

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert "reported nothing in phase step for too long" in server.log.read_text()
    assert books(server) == Books(completed=1)


def test_a_job_that_hangs_its_engines(start: Start) -> None:
    server = start(max_attempts=2, stall_step_seconds=1)
    code, message = failed(server, ask(server, "faulty", "hang"))

    assert code == "timed_out"
    assert message.startswith("the engine hung in phase step of this job and was replaced; engines lost so: 2,")
    assert books(server) == Books(failed=1)


def test_a_model_that_hangs_its_engines_while_it_loads(start: Start) -> None:
    server = start(max_attempts=1, stall_load_seconds=1)
    job, other = ask(server, "hangs"), ask(server, "good")
    code, message = failed(server, job)

    assert code == "timed_out"
    assert message.startswith("the engine hung in phase load of this job and was replaced")
    assert completed(server, other)
    assert books(server) == Books(completed=1, failed=1)


def test_a_job_that_kills_its_engines(start: Start) -> None:
    server = start(max_attempts=2)
    poison, other = ask(server, "faulty", "die"), ask(server, "good")
    code, message = failed(server, poison)

    assert code == "engine_lost"
    assert message.startswith("the engine was lost while it ran this job; engines lost so: 2,")
    assert completed(server, other)
    assert attempts(server, other) == ["1.mp4"]
    assert books(server) == Books(completed=1, failed=1)


def test_a_load_that_kills_the_engine_costs_no_other_job_an_attempt(start: Start) -> None:
    server = start(max_attempts=1)
    killer, other = ask(server, "kills"), ask(server, "good")

    assert failed(server, killer)[0] == "engine_lost"
    assert completed(server, other)
    assert attempts(server, other) == ["1.mp4"]
    assert books(server) == Books(completed=1, failed=1)


def test_a_model_whose_warming_up_kills_the_engine_keeps_it_from_no_other(start: Start, models: str) -> None:
    server = start(models.replace("kills: {", "kills: {warm_up: true, "))

    assert completed(server, ask(server, "good"))
    assert "nothing is warmed up: the engine before this one did not survive it" in server.log.read_text()
    assert books(server) == Books(completed=1)


def test_what_a_killed_engine_has_started_does_not_hold_its_device(start: Start) -> None:
    server = start()
    job = ask(server, "faulty", "fork")

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server) == Books(completed=1)


def test_an_engine_that_wakes_up_late_harms_no_later_attempt(start: Start) -> None:
    server = start(lease_seconds=1, renew_seconds=0.2)
    job = ask(server, "slow", steps=40)
    server.in_step(job)
    engine = server.engine()
    engine.suspend()
    time.sleep(2)
    engine.resume()

    assert completed(server, job)
    assert books(server) == Books(completed=1)
