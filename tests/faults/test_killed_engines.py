"""An engine killed in each phase of a job: only an attempt is lost."""

import pytest
from support.books import books
from support.jobs import ask, at_gate, attempts, completed, in_phase, kill_engine, locked, open_gate, shut_gate, videos
from support.server import Server

pytestmark = pytest.mark.slow
STORES = ("sqlite", "postgresql")


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


def test_the_work_of_a_killed_engine_is_lost_once(server: Server) -> None:
    def jobs() -> dict[str, int]:
        return dict(server.call("/v1/usage?model=slow")[1]["total"]["jobs"])

    before = jobs()
    job = ask(server, "slow", steps=20)
    in_phase(server, job, "step", 20)
    kill_engine(server)
    assert completed(server, job)
    after = jobs()

    assert {outcome: after[outcome] - before[outcome] for outcome in after} == {
        "completed": 1, "failed": 0, "cancelled": 0, "lost": 1,
    }  # fmt: skip


def test_an_engine_killed_while_it_decodes(server: Server) -> None:
    shut_gate(server)
    job = ask(server, "faulty", "held frame")
    at_gate(server)
    in_phase(server, job, "decode")
    kill_engine(server)
    open_gate(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0


def test_an_engine_killed_while_it_encodes(server: Server) -> None:
    shut_gate(server)
    job = ask(server, "faulty", "held frame", width=320, height=240, num_frames=121)  # more than the encoder keeps
    at_gate(server)
    server.until(lambda: [part for part in videos(server, job).glob("1.part.mp4") if part.stat().st_size > 10_000])
    assert attempts(server, job) == ["1.part.mp4"]
    kill_engine(server)
    open_gate(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0


def test_an_engine_killed_between_file_and_row(server: Server) -> None:
    shut_gate(server)
    job = ask(server, "faulty", "held end")
    at_gate(server)
    with locked(server.data, server.store):  # so that it waits with the file written
        open_gate(server)
        server.until(lambda: (videos(server, job) / "1.mp4").exists())
        kill_engine(server)

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0
