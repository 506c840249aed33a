"""A hub failing during a download: passing errors are retried, others fail one job.

The hub is a stand-in on loopback; `huggingface_hub` itself asks it, in the processes of a real server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.books import books
from support.hub import Hub, use
from support.jobs import ask, completed, failed, in_phase
from support.server import Server, serve_in

pytestmark = pytest.mark.slow
BIG = "model.safetensors"
FAR = "far: {backend: still, modality: t2v, source: org/far, download: true, defaults: {width: 64, height: 64, num_frames: 5}}"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    (folder / BIG).write_bytes(os.urandom(1_000_000))
    hub = Hub("org/far", folder)
    yield hub
    hub.close()


@contextmanager
def serving(hub: Hub, models: str, folder: Path, **settings: object) -> Iterator[Server]:
    """Run a server whose engine downloads from `hub`."""
    with pytest.MonkeyPatch.context() as patch:
        use(hub, folder / "hf", patch)
        running = serve_in(folder, f"{models}  {FAR}\n", **settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(hub: Hub, models: str, plugins: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(hub, models, tmp_path_factory.mktemp("patient"), plugins=plugins) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(hub: Hub, models: str, plugins: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server with seconds of patience with a silent hub, not 15 minutes."""
    folder = tmp_path_factory.mktemp("hasty")
    with serving(hub, models, folder, plugins=plugins, stall_download_seconds=6) as running:
        yield running


def gives_up(server: Server, reason: str) -> None:
    """Let the job of the hub's model fail, and the same engine go on."""
    engine = server.engine()
    job, other = ask(server, "far"), ask(server, "good")
    code, message = failed(server, job)

    assert code == "download_failed"
    assert reason in message
    assert completed(server, other)
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_hub_that_sends_a_wrong_file(server: Server, hub: Hub) -> None:
    hub.serve = lambda path, data: b"x" + data[1:]
    try:
        gives_up(server, f"org/far could not be fetched: {BIG} is not what the hub lists")
    finally:
        hub.serve = lambda path, data: data


def test_a_hub_that_hangs(hasty: Server, hub: Hub) -> None:
    hub.slow = {BIG}
    hub.go.clear()
    try:
        gives_up(hasty, "org/far could not be fetched: nothing has come for 6 s")
    finally:
        hub.slow = set()
        hub.go.set()


def test_a_hub_that_answers_500_and_goes_on_doing_so(hasty: Server, hub: Hub) -> None:
    hub.refuse = lambda path: (500, "")
    try:
        gives_up(hasty, "org/far could not be fetched: nothing has come for 6 s")
    finally:
        hub.refuse = lambda path: None


def test_a_hub_that_answers_500_for_a_while(server: Server, hub: Hub) -> None:
    refusals = [(500, "")] * 2
    hub.refuse = lambda path: refusals.pop() if refusals else None
    job = ask(server, "far")
    in_phase(server, job, "download")

    assert completed(server, job)
    assert refusals == []
    assert books(server).strays == 0
