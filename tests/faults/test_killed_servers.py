"""All processes or the supervisor killed: none survives, and a start resumes every job."""

import fcntl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.books import Books, books
from support.jobs import ask, attempts, completed, failed, in_phase
from support.patience import PATIENCE
from support.server import Server

pytestmark = pytest.mark.slow
Start = Callable[..., Server]


def test_everything_killed_at_once_and_started_again(start: Start) -> None:
    server = start()
    running = ask(server, "slow", steps=40)
    in_phase(server, running, "step", 5)
    waiting = [ask(server, model) for model in ("good", "slow", "faulty")]
    supervisor = psutil.Process(server.process.pid)
    everything = [supervisor, *supervisor.children(recursive=True)]
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(server.call, "/v1/responses", {"model": "good", "input": "a"})
        server.until(lambda: len(server.call("/v1/videos?limit=100")[1]["data"]) == 5)
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with pytest.raises(OSError):
            answer.result(10)
    server.process.wait()
    again = start()

    assert [completed(again, job) for job in (running, *waiting)] == [True] * 4
    assert attempts(again, running) == ["2.mp4"]
    assert books(again) == Books(completed=5)


def test_a_killed_supervisor(start: Start) -> None:
    server = start(workers=2)
    job = ask(server, "faulty", "hang")
    in_phase(server, job, "step")
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    until_free(server.data / "devices" / "cpu.lock")
    again = start(stall_step_seconds=1, max_attempts=2)

    assert len(children) >= 4  # gunicorn, its two workers, the engine
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    assert completed(again, ask(again, "good"))
    assert failed(again, job)[0] == "timed_out"
    assert books(again) == Books(completed=1, failed=1)


def until_free(lock: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    with open(lock) as file:
        while time.monotonic() < deadline:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
    raise AssertionError(f"{lock} is still held")
