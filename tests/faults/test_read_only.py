"""A read-only data folder, at the start or while serving: nothing is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import data_url, png, with_image
from support.books import Books, books
from support.disks import disk, read_only, remount
from support.jobs import (
    ask,
    at_gate,
    attempts,
    completed,
    failed,
    framegate,
    in_phase,
    kill_engine,
    now,
    open_gate,
    shut_gate,
)
from support.server import Server, free_port, serve_in

from router.doctor import disk as disk_check

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with `data` on a disk of its own."""
    folder = tmp_path_factory.mktemp("folder")
    with disk(folder / "data"):
        yield folder


@pytest.fixture
def server(folder: Path, models: str, plugins: str) -> Iterator[Server]:
    running = serve_in(folder, models, plugins=plugins)
    yield running
    running.stop()


@contextmanager
def remounted(folder: Path) -> Iterator[None]:
    """Make the unused disk read-only while the block runs."""
    remount(folder / "data", "ro")
    try:
        yield
    finally:
        remount(folder / "data", "rw")


def test_a_start_on_a_read_only_folder(folder: Path, models: str, plugins: str) -> None:
    (folder / "models.yaml").write_text(models)
    start = ("serve", "--port", str(free_port()), "--device", "cpu")
    with remounted(folder):
        ended = framegate(folder, *start, plugins=plugins)
        looked = disk_check.writable(folder / "data")

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"framegate: the job store {folder}/data/jobs.sqlite cannot be opened: ")
    assert str(looked).startswith(f"fail  data: {folder}/data is no folder in which this user may write; ")


def test_a_folder_that_turns_read_only(server: Server) -> None:
    engine = server.engine()
    shut_gate(server)
    done, running = ask(server, "good"), ask(server, "faulty", "held end")
    at_gate(server)
    with read_only(server.data):
        open_gate(server)
        body = {"model": "image", "input": with_image("a", data_url(png())), "background": True}
        status, answer = server.call("/v1/responses", body)
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        error = ("generation_failed", "the video could not be written: the server's disk is read-only")
        assert failed(server, running) == failed(server, ask(server, "good")) == error
        assert server.fetch(f"/v1/videos/{done['id'].replace('resp', 'video')}/content")[4:8] == b"ftyp"

    assert completed(server, ask(server, "good"))
    assert server.engine() == engine
    assert books(server) == Books(completed=2, failed=2, strays=1)


def test_a_store_that_turns_read_only(server: Server) -> None:
    """Kill the engine: only a new process sees that the disk is read-only."""
    job = ask(server, "slow", steps=20)
    in_phase(server, job, "step", 5)
    with read_only(server.data):
        kill_engine(server)
        server.until(lambda: "cpu.lock cannot be written: Read-only file system" in server.log.read_text())
        assert now(server, job)["status"] == "in_progress"

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert books(server).strays == 0
