"""The work of finished jobs in the answers of all dialects."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from conftest import MODELS, stored
from flask.testing import FlaskClient

from router.jobs import ClaimRequest
from router.settings import Settings
from router.system import System, assemble
from router.values import Artifact, Failure, Job, Lease, Usage
from router.web import create_app
from router.web.job_usage import shown

ASK = {"model": "text", "input": "a", "background": True, "provider_options": {"video": {"steps": 3}}}
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
PICTURE = Artifact("1.png", "image/png", "00", 9, 64, 64, 1, 8)
USED = Usage(2.50049, 3, 5, 5 * 64 * 64)
SHOWN = {"gpu_seconds": 2.5, "steps": 3, "frames": 5, "pixels": 64 * 64}


@pytest.fixture
def system(settings: Settings) -> System:
    settings.models.write_text(MODELS.replace("{backend: still", "{price: 0.002, backend: still", 1))
    return assemble(settings)


@pytest.fixture
def client(system: System) -> FlaskClient:
    return create_app(system).test_client()


def asked(client: FlaskClient, **body: Any) -> str:
    """Return the public part of a new job's id."""
    answer = client.post("/v1/responses", json={**ASK, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["id"].removeprefix("resp_"))


def claimed(system: System, model: str = "text") -> Lease:
    found = system.jobs.claim("e", ClaimRequest([model]))
    assert found is not None
    return found[0]


def usages(client: FlaskClient, job: str) -> tuple[Any, Any]:
    """Return the usage of a response without the tokens, and that of its video."""
    response = client.get(f"/v1/responses/resp_{job}").get_json()["usage"]
    video = client.get(f"/v1/videos/video_{job}").get_json()
    return response and {name: value for name, value in response.items() if "token" not in name}, video.get("usage")


def test_a_job_keeps_the_price_of_its_acceptance(client: FlaskClient, system: System) -> None:
    priced, free = (
        stored(system, client.post("/v1/responses", json={**ASK, "model": name})) for name in ("text", "slow")
    )

    assert (priced.price, free.price) == (0.002, None)
    models = {model["id"]: model.get("price") for model in client.get("/v1/models").get_json()["data"]}
    assert (models["text"], models["slow"]) == (0.002, None)


def test_a_completed_job_shows_its_work_and_its_cost(client: FlaskClient, system: System) -> None:
    job = asked(client)
    system.jobs.finish(claimed(system), VIDEO, (), USED)

    assert usages(client, job) == ({**SHOWN, "cost": 0.005001}, {**SHOWN, "cost": 0.005001})


def test_a_model_without_a_price_shows_no_cost(client: FlaskClient, system: System) -> None:
    job = asked(client, model="slow")
    system.jobs.finish(claimed(system, "slow"), VIDEO, (), USED)

    assert usages(client, job) == (SHOWN, SHOWN)


def test_a_failed_job_shows_what_it_took(client: FlaskClient, system: System) -> None:
    job = asked(client)
    system.jobs.fail(claimed(system), Failure("generation_failed", "it failed"), Usage(1.0, 2))
    shown = {"gpu_seconds": 1.0, "steps": 2, "frames": 0, "pixels": 0, "cost": 0.002}

    assert usages(client, job) == (shown, shown)


def test_a_cancelled_job_shows_its_work_once_its_engine_has_stopped(client: FlaskClient, system: System) -> None:
    job = asked(client)
    lease = claimed(system)
    client.post(f"/v1/responses/resp_{job}/cancel")
    assert usages(client, job) == (None, None)
    system.jobs.book(lease, Usage(1.0, 2))

    assert [usage["steps"] for usage in usages(client, job)] == [2, 2]


def test_a_job_cancelled_before_it_ran_took_nothing(client: FlaskClient) -> None:
    job = asked(client)
    client.post(f"/v1/responses/resp_{job}/cancel")
    nothing = {"gpu_seconds": 0, "steps": 0, "frames": 0, "pixels": 0, "cost": 0}

    assert usages(client, job) == (nothing, nothing)


def test_an_unfinished_job_has_no_usage_in_any_dialect(client: FlaskClient, system: System) -> None:
    job = asked(client)
    assert usages(client, job) == (None, None)
    claimed(system)

    assert usages(client, job) == (None, None)


def test_the_images_of_a_response_add_up(client: FlaskClient, system: System) -> None:
    alone = stored(system, client.post("/v1/responses", json={**ASK, "provider_options": {"image": {"steps": 3}}}))
    ids = [f"{n:032x}" for n in range(3)]
    presentation = replace(alone.presentation, siblings=tuple(ids[1:]))
    siblings = [replace(alone, id=sibling) for sibling in ids[1:]]
    job = system.jobs.add(replace(alone, id=ids[0], presentation=presentation), siblings=siblings).id
    system.jobs.delete(alone.id, None)
    first, second, third = (claimed(system) for _ in range(3))
    made = Usage(1.25, 3, 1, 64 * 64)
    system.jobs.finish(first, PICTURE, (), made)
    assert client.get(f"/v1/responses/resp_{job}").get_json()["usage"] is None
    system.jobs.finish(second, PICTURE, (), made)
    system.jobs.fail(third, Failure("generation_failed", "it failed"), Usage(0.5, 2))

    details = {"width": 64, "height": 64, "megapixels": 0.008192, "steps": 3, "image_count": 2}
    assert usages(client, job)[0] == {
        "gpu_seconds": 3.0, "steps": 8, "frames": 2, "pixels": 64 * 64, "cost": 0.006, "image_generation_details": details,
    }  # fmt: skip


def test_a_video_of_an_older_version_shows_what_was_known_then(client: FlaskClient, system: System) -> None:
    job = asked(client)
    system.jobs.finish(claimed(system), VIDEO, (), USED)
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE jobs SET usage = NULL, price = NULL, started_at = 100, finished_at = 107.5")

    assert usages(client, job)[0] == {"gpu_seconds": 7.5, "steps": 3, "frames": 5, "pixels": 64 * 64}


def test_a_failure_of_an_older_version_shows_nothing(system: System, client: FlaskClient) -> None:
    job = stored(system, client.post("/v1/responses", json=ASK))
    failed: Job = replace(job, failure=Failure("out_of_memory", "it did not fit"), started_at=1.0, finished_at=2.0)

    assert shown([failed]) is None
