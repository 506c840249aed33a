"""Processes stopped by SIGSTOP in each state: replaced, with no job lost or doubled."""

import random
import time
from collections.abc import Callable

import psutil
import pytest
from support.books import books, listed
from support.jobs import ask, attempts, completed, in_phase, web_workers
from support.server import Server
from support.storm import Storm, endings, served_again

pytestmark = pytest.mark.slow
Start = Callable[..., Server]
SETTINGS = {"stall_process_seconds": 2, "lease_seconds": 6, "renew_seconds": 1, "max_attempts": 10}
STORM_SECONDS = 600
RETURN_SECONDS = 60  # what the documentation promises


def stop(process: psutil.Process) -> None:
    """Stop a process with SIGSTOP."""
    process.suspend()
    until = time.monotonic() + 10
    while process.status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < until
        time.sleep(0.01)


def replaced(server: Server, process: psutil.Process) -> None:
    server.until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def a_new_engine(server: Server) -> psutil.Process:
    """Return an engine that has just started."""
    engine = server.engine()
    engine.kill()
    engine.wait(30)
    return server.engine()


def a_new_web_worker(server: Server) -> psutil.Process:
    worker, *_ = before = web_workers(server)
    worker.kill()
    (new,) = server.until(lambda: [each for each in web_workers(server) if each not in before])
    return psutil.Process(new.pid)


def a_web_worker(server: Server) -> psutil.Process:
    return random.choice(web_workers(server))


KINDS: dict[str, Callable[[Server], psutil.Process]] = {
    "engine": Server.engine,
    "web master": Server.master,
    "web worker": a_web_worker,
    "engine that starts": a_new_engine,
    "web worker that starts": a_new_web_worker,
}


def nothing_lost_or_doubled(server: Server, storm: Storm, jobs: int) -> None:
    """Check that each caller has exactly one job, completed once."""
    done = books(server)

    assert (done.completed, done.failed, done.cancelled) == (jobs, 0, 0)
    assert set(storm.jobs) <= {video["id"].removeprefix("video_") for video in listed(server)}
    assert len(storm.jobs) == len(set(storm.jobs))
    assert set(endings(server).values()) == {1}


def test_a_stopped_engine_that_is_idle(server: Server) -> None:
    engine = server.engine()
    served_again(server)
    stop(engine)
    replaced(server, engine)

    assert completed(server, ask(server, "good"))
    assert "is stopped, in phase idle: killing it" in server.log.read_text()


def test_a_stopped_engine_at_work(server: Server) -> None:
    job = ask(server, "slow", steps=20)
    in_phase(server, job, "step", 10)
    engine = server.engine()
    stop(engine)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_stopped_process_in_a_storm_of_requests(server: Server, kind: str) -> None:
    before = listed(server)
    with Storm(server) as storm:
        served_again(server)
        process = KINDS[kind](server)
        stop(process)
        replaced(server, process)
        served_again(server)
    nothing_lost_or_doubled(server, storm, jobs=len(before) + len(storm.jobs) + 2)  # two of `served_again`


def test_a_stop_with_stopped_processes(start: Start) -> None:
    server = start()
    job = ask(server, "slow", steps=20)
    server.in_step(job)
    for process in (server.engine(), server.master(), *web_workers(server)):
        stop(process)
    server.stop()
    again = start()

    assert "did not stop in time" not in server.log.read_text()
    assert completed(again, job)
    assert books(again).completed == 1


@pytest.mark.storm
@pytest.mark.timeout(1800)
def test_ten_minutes_of_stopped_and_killed_processes(start: Start) -> None:
    server = start(max_attempts=1000)
    until, slowest, others = time.monotonic() + STORM_SECONDS, 0.0, 0
    with Storm(server) as storm:
        while time.monotonic() < until:
            time.sleep(random.random() * 3)
            kind = random.choice(list(KINDS))
            process = KINDS[kind](server)
            how = random.choice((stop, psutil.Process.kill))
            how(process)
            seconds = served_again(server)
            replaced(server, process)
            seconds = max(seconds, served_again(server))
            others += 2
            print(f"{how.__name__} {kind}: {seconds:.1f} s")
            slowest = max(slowest, seconds)

    assert slowest < RETURN_SECONDS
    nothing_lost_or_doubled(server, storm, jobs=len(storm.jobs) + others)
