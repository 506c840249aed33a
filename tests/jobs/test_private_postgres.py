"""The private servers of tests: what ends and pauses do to them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from support.patience import until
from support.postgresql import Postgres
from support.server import ROOT

Mode = Literal["fast", "immediate"]

RUN_UNTIL_KILLED = """
from support.postgresql import Postgres

server = Postgres()
server.start()
pid = int((server.data / "postmaster.pid").read_text().split()[0])
if {paused}:
    server.pause()
print(pid, server.folder, flush=True)
input()
"""


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_stopped_server_keeps_what_was_committed(postgres: Postgres, postgres_url: str, mode: Mode) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres.psql("CREATE TABLE kept AS SELECT 7 AS number", name)

    postgres.stop(mode)
    assert not postgres.is_running
    assert not postgres.accepts()

    postgres.start()
    assert postgres.psql("SELECT number FROM kept", name) == [(7,)]


def test_a_paused_server_answers_after_its_pause(postgres: Postgres) -> None:
    with ThreadPoolExecutor(1) as thread:
        postgres.pause()
        try:
            answer = thread.submit(postgres.psql, "SELECT 7")
            with pytest.raises(TimeoutError):
                answer.result(0.5)
        finally:
            postgres.resume()

        assert answer.result(60) == [(7,)]


@pytest.mark.parametrize("paused", [False, True])
def test_a_server_ends_with_its_killed_tests(paused: bool) -> None:
    command = [sys.executable, "-c", RUN_UNTIL_KILLED.format(paused=paused)]
    environ = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        pid, folder = tests.stdout.readline().split()
        server = psutil.Process(int(pid))
        processes = [server, *server.children()]
        assert len(processes) > 3
        tests.kill()

    until(lambda: not any(_lives(process) for process in processes))
    until(lambda: not Path(folder).exists())


def _lives(process: psutil.Process) -> bool:
    # the first process of a container may leave it unreaped
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_clients_of_pgbouncer_share_a_connection(pgbouncer_url: str, postgres_url: str) -> None:
    engine = create_engine(pgbouncer_url, poolclass=NullPool)
    with engine.connect() as first, engine.connect() as second:
        pids = set()
        for client in (first, second, first):
            pids.add(client.execute(text("SELECT pg_backend_pid()")).scalar_one())
            client.commit()

    assert len(pids) == 1
    assert pgbouncer_url.rpartition("/")[2] == postgres_url.rpartition("/")[2]
