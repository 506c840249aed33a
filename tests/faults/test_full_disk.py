"""A full disk at each write: requests get 503, and space brings all back."""

import shutil
import time
from collections.abc import Iterator

import pytest
from conftest import data_url, png, with_image
from support.books import books
from support.disks import disk, full
from support.jobs import Job, ask, at_gate, attempts, completed, failed, framegate, now, open_gate, shut_gate
from support.server import ROOT, Server, serve_in

from router.engine.retention import Retention
from router.jobs.database.disk_reserve import Reserve
from router.runtime.variables import YEAR_SECONDS
from router.settings import Settings
from router.system import assemble

pytestmark = pytest.mark.slow
MIB = 2**20
PICTURE = with_image("a", data_url(png()))


@pytest.fixture(scope="module")
def server(models: str, plugins: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server on a small disk, with rare writes of its engine."""
    folder = tmp_path_factory.mktemp("full")
    with disk(folder / "data"):
        running = serve_in(folder, models, plugins=plugins, lease_seconds=8, renew_seconds=4, min_free="0")
        yield running
        running.stop()


@pytest.fixture
def job(server: Server) -> Job:
    """Return a completed job."""
    done = ask(server, "good")
    assert completed(server, done)
    return done


def refused(server: Server, body: object, path: str = "/v1/responses") -> None:
    status, answer = server.call(path, body)
    assert (status, answer["error"]["code"]) == (503, "disk_full")
    assert answer["error"]["message"] == "the server's disk is full; try again later"


def keep_reserve(server: Server) -> None:
    """Write the reserve anew, as the server does at its start."""
    Reserve(server.data / "jobs.sqlite").keep()
    assert (server.data / "reserve").exists()


def without_reserve(server: Server) -> None:
    """Remove the reserve, as if other writes had used it."""
    (server.data / "reserve").unlink(missing_ok=True)


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
    assert (server.data / "reserve").exists()
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
    shut_gate(server)
    job = ask(server, "faulty", "held steps")
    at_gate(server)
    with full(server.data):
        server.until(lambda: "the store did not take the progress: database or disk is full" in server.log.read_text())
    open_gate(server)

    assert completed(server, job)
    assert attempts(server, job) == ["1.mp4"]
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_full_disk_at_the_end_of_a_job(server: Server) -> None:
    """End the job at once by writing its last row into the reserve."""
    engine = server.engine()
    shut_gate(server)
    job = ask(server, "faulty", "held end")
    at_gate(server)
    with full(server.data):
        open_gate(server)
        assert failed(server, job) == ("disk_full", "the video could not be written: the server's disk is full")

    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_full_disk_without_its_reserve_at_the_end_of_a_job(server: Server) -> None:
    engine = server.engine()
    shut_gate(server)
    job = ask(server, "faulty", "held end")
    at_gate(server)
    without_reserve(server)
    with full(server.data):
        open_gate(server)
        server.until(lambda: "the store did not answer; asking again: " in server.log.read_text())

    assert completed(server, job)
    assert attempts(server, job) == ["2.mp4"]
    assert server.engine() == engine
    assert books(server).strays == 0


def test_a_full_disk_at_cancel_and_delete(server: Server, job: Job) -> None:
    """Fail one job alone when no byte is free for its video."""
    keep_reserve(server)
    shut_gate(server)
    running, other = ask(server, "faulty", "held end"), ask(server, "good")
    at_gate(server)
    status, queued = server.call("/v1/responses", {"model": "image", "input": PICTURE, "background": True})
    assert status == 200
    with full(server.data) as fill:
        for each in (queued, running):
            assert server.call(f"/v1/responses/{each['id']}/cancel", method="POST")[1]["status"] == "cancelled"
            fill()
        for each in (queued, running, job):
            assert server.call(f"/v1/responses/{each['id']}", method="DELETE")[0] == 200
            fill()
            assert server.call(f"/v1/responses/{each['id']}")[0] == 404
        assert not list((server.data / "videos").glob(job["id"].removeprefix("resp_")))
        open_gate(server)

    assert completed(server, other)
    assert books(server).strays == 0


def test_a_full_disk_without_its_reserve_at_a_delete(server: Server, job: Job) -> None:
    """Delete a job whose own files free the bytes for its row."""
    other, job = job, ask(server, "faulty", width=320, height=240, num_frames=17)
    assert completed(server, job)
    without_reserve(server)
    with full(server.data):
        free = shutil.disk_usage(server.data).free
        assert server.call(f"/v1/responses/{job['id']}", method="DELETE")[0] == 200
        assert shutil.disk_usage(server.data).free >= free
        assert server.call(f"/v1/responses/{job['id']}")[0] == 404

    assert now(server, other)["status"] == "completed"
    assert books(server).strays == 0


def test_a_full_disk_at_the_sweeper(server: Server, job: Job) -> None:
    keep_reserve(server)
    with full(server.data):
        system = assemble(Settings(data=server.data, models=ROOT / "models.yaml"), serving=False)
        swept = Retention(system, now=lambda: time.time() + YEAR_SECONDS).sweep()
        assert swept is not None
        assert swept.expired > 0
        assert shutil.disk_usage(server.data).free > 0
        assert server.call(f"/v1/responses/{job['id']}")[0] == 404

    assert completed(server, ask(server, "good"))
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
