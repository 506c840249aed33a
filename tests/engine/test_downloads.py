"""A job of a model without local weights: they are downloaded first, with progress."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from flask.testing import FlaskClient
from support.contract import Contract, closed
from support.hub import Hub, use
from support.patience import until
from support.server import children

from router.engine.worker import Worker
from router.errors import EngineError
from router.settings import Settings
from router.system import System
from router.values import Phase, Status

REPO, BIG = "org/far", "model.safetensors"
SIZE = 1_000_000
MODELS = """
models:
  far:
    backend: still
    modality: t2v
    source: org/far
    download: true
    defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 2, negative_prompt: ''}
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / BIG).write_bytes(os.urandom(SIZE))
    hub = Hub(REPO, folder)
    use(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    settings.models.write_text(MODELS)
    return settings


def ask(client: FlaskClient) -> str:
    answer = client.post("/v1/responses", json={"model": "far", "input": "a ball", "background": True})
    assert answer.status_code == 200, answer.json
    return answer.json["id"].removeprefix("resp_")


def shown(client: FlaskClient) -> str:
    answer = client.get("/v1/models/far")
    Contract(closed(client.get("/openapi.json").json)).hold("GET", "/v1/models/far", answer)
    return answer.json["weights"]


def half(system: System, job: str) -> None:
    """Wait until the job has half of its weights."""

    def there() -> bool:
        progress = system.jobs.get(job, "local").progress
        return progress is not None and progress.done == SIZE // 2

    until(there)


def test_a_job_fetches_what_it_needs_in_sight_of_all(
    hub: Hub, system: System, client: FlaskClient, worker: Worker
) -> None:
    hub.slow = {BIG}
    assert shown(client) == "missing"
    job = ask(client)
    half(system, job)

    progress = system.jobs.get(job, "local").progress
    assert (progress.phase, progress.done, progress.total) == (Phase.DOWNLOAD, SIZE // 2, SIZE)
    assert shown(client) == "downloading 50 %"
    hub.go.set()
    until(lambda: system.jobs.get(job, "local").status is Status.COMPLETED)
    assert shown(client) == "here"


def test_a_cancelled_job_stops_its_download_and_the_next_takes_it_up(
    hub: Hub, system: System, client: FlaskClient, worker: Worker
) -> None:
    hub.slow = {BIG}
    job = ask(client)
    half(system, job)
    client.post(f"/v1/responses/resp_{job}/cancel")
    until(lambda: shown(client) == "incomplete")
    hub.go.set()
    job = ask(client)

    until(lambda: system.jobs.get(job, "local").status is Status.COMPLETED)
    assert hub.ranges_of(BIG) == [0, SIZE // 2]


def test_a_download_that_died_fails_its_job_and_is_seen_no_more(
    hub: Hub, system: System, client: FlaskClient, worker: Worker
) -> None:
    hub.slow = {BIG}
    job = ask(client)
    half(system, job)
    [child] = children("router.catalog.download", psutil.Process())
    os.kill(child.pid, signal.SIGKILL)

    until(lambda: system.jobs.get(job, "local").status is Status.FAILED)
    assert system.jobs.get(job, "local").failure.code == "download_failed"
    assert shown(client) == "incomplete"


def test_what_may_not_be_fetched_is_refused_while_somebody_else_fetches_it(
    hub: Hub, system: System, client: FlaskClient, worker: Worker
) -> None:
    hub.slow = {BIG}
    half(system, ask(client))
    model = replace(system.registries.poll().find("far"), download=False)

    with pytest.raises(EngineError, match=r"which are on their way \(downloading 50 %\)"):
        system.weights.obtain(model, lambda done, total: None)
