"""Failing backends and listeners: each costs its own job, and the engine goes on."""

import pytest
from support.books import books
from support.jobs import ask, attempts, completed, failed
from support.server import Server

pytestmark = pytest.mark.slow
SETTINGS = {"plugins": "deaf.py", "job_seconds": 3}


def answered(server: Server, model: str, prompt: str) -> tuple[int, str, str]:
    """Return the status, the code and the message of a caller who waits."""
    engine = server.engine()
    status, body = server.call("/v1/responses", {"model": model, "input": prompt})
    assert completed(server, ask(server, "good"))
    assert server.engine() == engine
    assert books(server).strays == 0
    return status, body["error"]["code"], body["error"]["message"]


def test_a_backend_that_raises_in_load_model(server: Server) -> None:
    message = "the model could not be loaded; the server's log has the reason"

    assert answered(server, "breaks", "a") == (500, "load_failed", message)
    assert "a secret of the backend" in server.log.read_text()


def test_a_backend_that_says_why_it_cannot_load(server: Server) -> None:
    assert answered(server, "refuses", "a") == (500, "load_failed", "it has no head")


def test_an_engine_that_cannot_load_one_model_serves_the_others(server: Server) -> None:
    before = server.engine()
    jobs = [ask(server, model) for model in ("refuses", "good", "refuses", "faulty")]

    assert failed(server, jobs[0]) == failed(server, jobs[2]) == ("load_failed", "it has no head")
    assert [completed(server, jobs[n]) for n in (1, 3)] == [True] * 2
    assert server.engine() == before
    assert books(server).strays == 0


def test_a_backend_that_raises(server: Server) -> None:
    message = "the video could not be generated; the server's log has the reason"

    assert answered(server, "faulty", "stumble") == (500, "generation_failed", message)


def test_a_backend_that_runs_out_of_memory(server: Server) -> None:
    message = "the device ran out of memory: ask for fewer frames"

    assert answered(server, "faulty", "run out of memory") == (500, "out_of_memory", message)


def test_a_backend_that_notices_nan(server: Server) -> None:
    assert answered(server, "faulty", "lose numbers") == (500, "numerical_error", "the model made NaN")


def test_a_backend_that_returns_nan(server: Server) -> None:
    message = "the backend must make uint8 pixels of shape (n, 64, 64, 3), got float32 of shape (5, 64, 64, 3)"

    assert answered(server, "faulty", "not numbers") == (500, "generation_failed", message)


def test_a_backend_that_returns_too_few_frames(server: Server) -> None:
    message = "the backend announced 5 frames and made 4"

    assert answered(server, "faulty", "too few") == (500, "generation_failed", message)


def test_a_job_that_runs_for_too_long(server: Server) -> None:
    code, message = failed(server, ask(server, "slow", steps=100))

    assert code == "timed_out"
    assert "after 3 seconds, the longest that it may run" in message
    assert books(server).strays == 0


def test_a_listener_that_raises(server: Server) -> None:
    job = ask(server, "good")

    assert completed(server, job)
    assert attempts(server, job) == ["1.mp4"]
    assert "deaf to completed" in server.log.read_text()
    assert books(server).strays == 0
