"""Requests while PostgreSQL is out of reach, cut off or silent."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from flask.testing import FlaskClient
from support.link import Link
from support.patience import until
from werkzeug.test import TestResponse

from router.auth.keys import Scope, new_key, new_text
from router.engine.worker import Worker
from router.jobs.database.patient_driver import SILENCE_SECONDS
from router.system import System
from router.values import Status
from router.web import create_app

Build = Callable[..., System]
BODY = {"model": "text", "prompt": "a"}


def refused(answer: TestResponse) -> bool:
    error = answer.get_json()["error"]
    assert "127.0.0.1" not in error["message"]
    return (answer.status_code, error["code"], answer.headers["retry-after"]) == (503, "store_unavailable", "5")


def is_answered(client: FlaskClient) -> bool:
    return bool(client.get("/v1/videos").status_code == 200)


def test_requests_without_the_store(build: Build, link: tuple[Link, str]) -> None:
    client = create_app(build()).test_client()
    job = client.post("/v1/videos", json=BODY).get_json()["id"]
    link[0].cut()

    assert refused(client.post("/v1/videos", json=BODY))
    assert refused(client.get("/v1/videos"))
    assert refused(client.get(f"/v1/videos/{job}"))
    assert refused(client.delete(f"/v1/videos/{job}"))
    assert refused(client.get("/v1/models"))
    assert [client.get(path).status_code for path in ("/healthz", "/version", "/")] == [200] * 3
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.get_json() == {
        "status": "store unavailable", "engines": [], "reason": "the store is out of reach"
    }  # fmt: skip
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert b"framegate_disk_free_bytes" in metrics.data

    link[0].heal()
    until(lambda: is_answered(client))
    assert client.get(f"/v1/videos/{job}").status_code == 200


def test_keys_are_known_without_the_store(build: Build, link: tuple[Link, str]) -> None:
    system, text = build(), new_text()
    system.keys.add(new_key(text, "one", "one", {Scope.GENERATE, Scope.READ}))
    client = create_app(system).test_client()
    good, bad = ({"authorization": f"Bearer {key}"} for key in (text, new_text()))
    assert client.get("/v1/videos", headers=good).status_code == 200
    link[0].cut()
    assert not Event().wait(0.6)  # the keys are due to be read again

    assert refused(client.post("/v1/videos", json=BODY, headers=good))
    assert client.get("/v1/me", headers=good).status_code == 200
    assert client.get("/v1/videos", headers=bad).status_code == 401


def test_a_process_that_has_read_no_key_lets_nobody_in(build: Build, link: tuple[Link, str]) -> None:
    system = build()
    client = create_app(system).test_client()
    link[0].cut()

    assert refused(client.get("/v1/me"))


def test_a_waiting_request_outlasts_the_loss_of_the_store(
    build: Build, link: tuple[Link, str], postgres_url: str
) -> None:
    client = create_app(build()).test_client()
    with ThreadPoolExecutor() as threads:
        answers = [
            threads.submit(client.post, "/v1/videos/sync", json=BODY),
            threads.submit(client.post, "/v1/responses", json={"model": "text", "input": "a"}),
            threads.submit(
                lambda: client.post("/v1/responses", json={"model": "text", "input": "a", "stream": True}).data
            ),
        ]
        other = build(store=postgres_url)
        until(lambda: sum(other.jobs.counts().values()) == 3)
        assert not Event().wait(0.3)  # they wait now
        link[0].cut()
        worker = Worker(other, "cpu")
        until(lambda: not worker.run_one())
        assert other.jobs.counts()["text", Status.COMPLETED] == 3
        assert not Event().wait(1.0)
        assert not any(answer.done() for answer in answers)
        link[0].heal()
        sync, response, stream = (answer.result(60) for answer in answers)

    assert sync.status_code == 200
    assert response.get_json()["status"] == "completed"
    assert b"response.completed" in stream
    assert stream.endswith(b"data: [DONE]\n\n")


@pytest.mark.slow
def test_a_silent_store_holds_no_request_for_long(build: Build, link: tuple[Link, str]) -> None:
    client = create_app(build()).test_client()
    assert is_answered(client)
    link[0].silence()
    began = time.monotonic()
    with ThreadPoolExecutor(64) as threads:
        first = [threads.submit(client.get, "/v1/videos") for _ in range(64)]
        assert client.get("/healthz").status_code == 200
        assert all(refused(answer.result(60)) for answer in first)
    held = time.monotonic() - began
    following = client.post("/v1/videos", json=BODY)
    quickly = time.monotonic() - began - held
    link[0].heal()
    until(lambda: is_answered(client))

    assert refused(following)
    assert held < SILENCE_SECONDS + 30  # not for ever, nor one after the other
    assert quickly < SILENCE_SECONDS / 2  # it knows of the outage
