"""An engine that is killed in each phase of a job: it costs an attempt, and never the job."""

from __future__ import annotations

import pytest
from asking import ask, attempts, completed, in_phase, kill_engine, locked, videos
from books import books
from server import Server

pytestmark = pytest.mark.slow


def test_an_engine_killed_while_it_loads(server: Server) -> None:
    job = ask(server, "heavy")
    in_phase(server, job, "load")
    kill_engine(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0


def test_an_engine_killed_while_it_denoises(server: Server) -> None:
    job = ask(server, "slow", steps=20)
    in_phase(server, job, "step", 20)
    kill_engine(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0


def test_an_engine_killed_while_it_decodes(server: Server) -> None:
    job = ask(server, "faulty", "slow frames")
    in_phase(server, job, "decode", 91)
    kill_engine(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0


def test_an_engine_killed_while_it_encodes(server: Server) -> None:
    job = ask(server, "faulty", width=640, height=480, num_frames=49)  # seconds of noise
    server.until(lambda: [part for part in videos(server, job).glob("1.part.mp4") if part.stat().st_size > 10_000])
    kill_engine(server)
    assert [path.name for path in videos(server, job).iterdir()] == ["1.part.mp4"]

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0


def test_an_engine_killed_between_file_and_row(server: Server) -> None:
    job = ask(server, "faulty", "late end")
    in_phase(server, job, "decode", 99)
    with locked(server.data):  # so that it waits with the file written
        server.until(lambda: (videos(server, job) / "1.mp4").exists())
        kill_engine(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0
