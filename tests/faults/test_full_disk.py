"""A disk that is full at each write: whoever asks is told so, nothing half stays, and with room it goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asking import ask, at_gate, attempts, completed, failed, framegate, in_phase, now, open_gate, shut_gate
from books import books
from conftest import data_url, png, with_image
from disks import disk, full
from server import Server, serve_in

pytestmark = pytest.mark.slow
MIB = 2**20


@pytest.fixture(scope="module")
def server(models: str, plugins: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a small disk, whose engine writes to the store only when it has something to say."""
    folder = tmp_path_factory.mktemp("full")
    with disk(folder / "data"):
        running = serve_in(folder, models, plugins=plugins, lease_seconds=8, renew_seconds=4)
        yield running
        running.stop()


def refused(server: Server, body: object, path: str = "/v1/responses") -> None:
    status, answer = server.call(path, body)
    assert (status, answer["error"]["code"]) == (503, "disk_full")
    assert answer["error"]["message"] == "the server's disk is full; try again later"


def test_a_full_disk_at_the_input_image(server: Server) -> None:
    body = {"model": "image", "input": with_image("a", data_url(png())), "background": True}
    with full(server.data):
        refused(server, body)
        assert not [path for path in (server.data / "inputs").rglob("*") if path.is_file()]
    status, job = server.call("/v1/responses", body)

    assert status == 200
    assert completed(server, job)
    assert books(server).strays == 0


def test_a_full_disk_at_the_row(server: Server) -> None:
    done = ask(server, "good")
    assert completed(server, done)
    engine = server.engine()
    with full(server.data):
        refused(server, {"model": "good", "input": "a", "background": True})
        assert now(server, done)["status"] == "completed"
        assert server.fetch(f"/v1/videos/{done['id'].replace('resp', 'video')}/content")[4:8] == b"ftyp"

    assert completed(server, ask(server, "good"))
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_full_disk_at_the_video(server: Server) -> None:
    with full(server.data, leave=MIB):
        job = ask(server, "faulty", width=320, height=240, num_frames=17)
        code, message = failed(server, job)
        assert list((server.data / "videos").rglob("*.part*")) == []

    assert (code, message) == ("disk_full", "the video could not be written: the server's disk is full")
    assert completed(server, ask(server, "faulty", width=320, height=240, num_frames=17))
    assert books(server).strays == 0


def test_a_full_disk_while_a_job_runs(server: Server) -> None:
    engine = server.engine()
    job = ask(server, "slow", steps=30)
    in_phase(server, job, "step", 10)
    with full(server.data):
        server.until(lambda: "the store did not take the progress: database or disk is full" in server.log.read_text())

    assert completed(server, job)
    assert attempts(server, job) == ["1.mp4"]
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_full_disk_at_the_end_of_a_job(server: Server) -> None:
    engine = server.engine()
    shut_gate(server)
    job = ask(server, "faulty", "held end")
    at_gate(server)
    with full(server.data):
        open_gate(server)
        server.until(lambda: "the store did not answer; asking again: " in server.log.read_text())

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_full_disk_at_a_small_picture(server: Server) -> None:
    job = ask(server, "good")
    assert completed(server, job)
    path = f"/v1/videos/{job['id'].replace('resp', 'video')}/content?variant=thumbnail"
    with full(server.data):
        refused(server, None, path)
        assert attempts(server, job) == ["1.mp4"]

    assert server.fetch(path)[8:12] == b"WEBP"
    assert books(server).strays == 0


def test_a_full_disk_at_a_key_and_a_reload(server: Server, models: str, plugins: str) -> None:
    file = server.data.parent / "models.yaml"
    file.write_text(models.replace("good:", "better: {backend: still, modality: t2v}\n  good:"))
    ended = {}
    with full(server.data):
        for words in (("reload",), ("keys", "create", "somebody"), ("keys", "list")):
            ended[words[-1]] = framegate(server.data.parent, *words, plugins=plugins)

    for name in ("reload", "somebody"):
        assert (ended[name].returncode, ended[name].stderr) == (
            1,
            "framegate: nothing could be written: database or disk is full\n",
        )
    assert ended["list"].returncode == 0
    assert "somebody" not in ended["list"].stdout
    assert "is revision 2" in framegate(server.data.parent, "reload", plugins=plugins).stdout
    server.until(lambda: server.call("/v1/models/better")[0] == 200)
    assert books(server).strays == 0
