"""Long synchronous answers: silence, white space, then the whole resource."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.patience import until, watch

from router.jobs import ClaimRequest
from router.system import System
from router.values import Artifact, Failure, Lease
from router.web import create_app

VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@pytest.fixture
def client(system: System) -> FlaskClient:
    hasty = replace(system.settings, silent_seconds=0.2, pad_seconds=0.05)
    return create_app(replace(system, settings=hasty)).test_client()


def begun(client: FlaskClient) -> tuple[Any, Iterator[bytes]]:
    """Return an answer after its first space, and its further pieces."""
    answer = client.post("/v1/responses", json={"model": "text", "input": "a"}, buffered=False)
    pieces = answer.iter_encoded()
    assert next(pieces) == b" "
    return answer, pieces


def rest(pieces: Iterator[bytes]) -> dict[str, Any]:
    *spaces, last = pieces
    assert set(spaces) <= {b" "}
    return json.loads(last)


def claimed(system: System) -> Lease:
    found = system.jobs.claim("e", ClaimRequest(["text"]))
    assert found is not None
    return found[0]


def the_job(system: System) -> str:
    return next(iter(system.jobs.changes(0)[1]))


def test_the_answer_begins_after_the_silence_and_goes_on_with_spaces(client: FlaskClient, system: System) -> None:
    with watch() as silence:
        answer, pieces = begun(client)
    spaces = [next(pieces) for _ in range(3)]
    system.jobs.finish(claimed(system), VIDEO)
    body = rest(pieces)

    assert silence.whole >= 0.2
    assert silence.seconds < 1
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert spaces == [b" "] * 3
    assert body["status"] == "completed"
    assert body == client.get(f"/v1/responses/{body['id']}").get_json()


def test_a_failure_after_that_is_a_resource_that_failed(client: FlaskClient, system: System) -> None:
    _, pieces = begun(client)
    system.jobs.fail(claimed(system), Failure("out_of_memory", "it does not fit"))
    body = rest(pieces)

    assert body["status"] == "failed"
    assert body["error"] == {"code": "out_of_memory", "message": "it does not fit"}
    assert body["output"] == []


def test_a_failure_before_that_is_an_error(client: FlaskClient, system: System) -> None:
    from threading import Thread

    answers = []
    post = {"json": {"model": "text", "input": "a"}}
    patient = create_app(system).test_client()
    waiter = Thread(target=lambda: answers.append(patient.post("/v1/responses", **post)))
    waiter.start()
    lease, _ = until(lambda: system.jobs.claim("e", ClaimRequest(["text"])))
    system.jobs.fail(lease, Failure("out_of_memory", "it does not fit"))
    waiter.join(60)

    assert (answers[0].status_code, answers[0].get_json()["error"]["code"]) == (500, "out_of_memory")
    assert answers[0].headers["x-should-retry"] == "false"


def test_cancelled_by_somebody_it_is_a_resource_that_was_cancelled(client: FlaskClient, system: System) -> None:
    _, pieces = begun(client)
    client.post(f"/v1/responses/resp_{the_job(system)}/cancel")
    body = rest(pieces)

    assert (body["status"], body["incomplete_details"]) == ("cancelled", {"reason": "cancelled"})


def test_deleted_by_somebody_it_is_a_resource_that_was_cancelled(client: FlaskClient, system: System) -> None:
    _, pieces = begun(client)
    client.delete(f"/v1/responses/resp_{the_job(system)}")
    body = rest(pieces)

    assert (body["status"], body["incomplete_details"]) == ("cancelled", {"reason": "deleted"})
    assert body["output"] == []


def test_a_process_that_stops_says_how_far_the_job_is(client: FlaskClient) -> None:
    _, pieces = begun(client)
    client.application.waiting.drain()

    assert rest(pieces)["status"] == "queued"


def test_the_longest_wait_ends_with_the_job_as_it_is(system: System) -> None:
    hasty = replace(system.settings, silent_seconds=0.05, pad_seconds=0.05, wait_seconds=2.0)
    client = create_app(replace(system, settings=hasty)).test_client()
    answer = client.post("/v1/responses", json={"model": "text", "input": "a"})

    assert answer.data.startswith(b"  ")
    assert answer.get_json()["status"] == "queued"
