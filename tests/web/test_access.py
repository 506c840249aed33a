"""The access log: each line names its request and its job."""

import logging

import pytest
from flask.testing import FlaskClient

from router.engine.worker import Worker
from router.runtime.logs import job_id, request_id


class Seen(logging.Handler):
    """Keeps the message and the ids of each access line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((f"{record.method} {record.path} {record.status}", request_id.get(), job_id.get()))  # type: ignore[attr-defined]


@pytest.fixture
def seen() -> Seen:
    log, handler = logging.getLogger("router.web.access"), Seen()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def ask(client: FlaskClient, name: str, **body: object) -> str:
    """Return the id of the job that a request made."""
    asked = {"model": "text", "input": "a", **body}
    answer = client.post("/v1/responses", json=asked, headers={"x-request-id": name}, buffered=True)
    text = answer.get_data(as_text=True)
    return text.partition('"resp_')[2][:32]


def test_a_request_that_makes_a_job_names_both(client: FlaskClient, worker: Worker, seen: Seen) -> None:
    jobs = [ask(client, "plain"), ask(client, "later", background=True), ask(client, "told", stream=True)]

    assert seen.lines == [
        ("POST /v1/responses 200", name, job) for name, job in zip(("plain", "later", "told"), jobs, strict=True)
    ]


def test_a_stream_is_logged_when_it_is_over(client: FlaskClient, worker: Worker, seen: Seen) -> None:
    body = {"model": "text", "input": "a", "stream": True}
    answer = client.post("/v1/responses", json=body, headers={"x-request-id": "told"})
    assert seen.lines == []
    job = answer.get_data(as_text=True).partition('"resp_')[2][:32]
    answer.close()

    assert seen.lines == [("POST /v1/responses 200", "told", job)]


def test_a_video_of_the_other_dialect_and_a_repeated_request_are_named_too(client: FlaskClient, seen: Seen) -> None:
    video = client.post("/v1/videos", json={"model": "text", "prompt": "a"}).get_json()["id"]
    keyed = [
        client.post(
            "/v1/responses",
            json={"model": "text", "input": "a", "background": True},
            headers={"idempotency-key": "k"},
        ).get_json()["id"]
        for _ in range(2)
    ]

    assert [job for _, _, job in seen.lines] == [video[6:], keyed[0][5:], keyed[0][5:]]


def test_who_asks_for_a_job_names_it_and_the_next_request_of_the_thread_does_not(
    client: FlaskClient, seen: Seen
) -> None:
    job = ask(client, "made", background=True)
    client.get(f"/v1/responses/resp_{job}", headers={"x-request-id": "asked"})
    client.get("/healthz", headers={"x-request-id": "well"})

    assert seen.lines[1:] == [(f"GET /v1/responses/resp_{job} 200", "asked", job), ("GET /healthz 200", "well", "")]
