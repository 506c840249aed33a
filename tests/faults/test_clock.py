"""A wall clock that jumps while jobs run: leases, waits and limits ignore it.

The clock is moved in every process of the server, by a plugin: nobody may move that of the machine.
"""

import time

import pytest
from support.books import books
from support.jobs import ask, attempts, completed, in_phase, now
from support.server import Server

pytestmark = pytest.mark.slow
SETTINGS = {"plugins": "jumping.py", "lease_seconds": 2, "renew_seconds": 0.5, "job_seconds": 600, "wait_seconds": 60}
HOUR = 3600


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps(server: Server, hours: int) -> None:
    running, waiting = ask(server, "slow", steps=40), ask(server, "good")
    in_phase(server, running, "step", 10)
    (server.data / "jump").write_text(str(hours * HOUR))
    status, answer = server.call("/v1/responses", {"model": "slow", "input": "a"})
    jumped = now(server, ask(server, "good"))

    assert (status, answer["status"]) == (200, "completed")
    assert abs(jumped["created_at"] - time.time() - hours * HOUR) < HOUR / 2  # it has jumped for the server
    assert [completed(server, job) for job in (running, waiting, jumped)] == [True] * 3
    assert [attempts(server, job) for job in (running, waiting, jumped, answer)] == [["1.mp4"]] * 4
    (server.data / "jump").unlink()
    assert completed(server, ask(server, "good"))
    assert books(server).strays == 0
