"""A store locked by another process: requests wait, and after a while get 503."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.books import books
from support.jobs import ask, at_gate, attempts, completed, in_phase, locked, now, open_gate, shut_gate
from support.server import Server

pytestmark = pytest.mark.slow
SETTINGS = {"lease_seconds": 4, "renew_seconds": 1}


def test_a_store_locked_for_5_seconds(server: Server) -> None:
    engine = server.engine()
    job = ask(server, "slow", steps=20)
    in_phase(server, job, "step", 10)
    with ThreadPoolExecutor() as threads:
        with locked(server.data):
            requests = [threads.submit(ask, server, "good") for _ in range(4)]
            assert now(server, job)["status"] == "in_progress"
            time.sleep(5)
            assert not any(answer.done() for answer in requests)
        jobs = [answer.result(30) for answer in requests]

    assert [completed(server, each) for each in (job, *jobs)] == [True] * 5
    assert attempts(server, job) == ["1.mp4"]
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_store_that_stays_locked(server: Server) -> None:
    engine = server.engine()
    shut_gate(server)
    job = ask(server, "faulty", "held end")
    at_gate(server)
    with locked(server.data):
        open_gate(server)
        status, answer = server.call("/v1/responses", {"model": "good", "input": "a", "background": True})
        server.until(lambda: "the store did not answer; asking again" in server.log.read_text())

    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert server.engine() == engine
    assert books(server).strays == 0
