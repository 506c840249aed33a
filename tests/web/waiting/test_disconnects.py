"""Jobs of disconnected clients are cancelled, except those that must go on."""

from __future__ import annotations

import socket
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.patience import PATIENCE, first_job, until
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.system import System
from router.values import Artifact, Status
from router.web import create_app
from router.web.waiting.presence import LocalPresence

LEAVE_SECONDS = 0.2
LONG_SECONDS = 3.0  # to leave, where something is to be done in time
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
KEPT = {
    "store": ({"store": True}, {}),
    "background": ({"background": True, "stream": True}, {}),
    "an idempotency key": ({}, {"idempotency-key": "k"}),
}


@pytest.fixture
def app(system: System) -> Flask:
    return app_with(system)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def app_with(system: System, leave_seconds: float = LEAVE_SECONDS, **settings: Any) -> Flask:
    return create_app(replace(system, settings=replace(system.settings, leave_seconds=leave_seconds, **settings)))


class Caller:
    """A client with a connection to close, and its answer."""

    def __init__(self, app: Flask, **body: Any) -> None:
        self.connection, self._theirs = socket.socketpair()
        weakref.finalize(self, self.connection.close)
        weakref.finalize(self, self._theirs.close)
        self._app = app
        self._body = {"model": "text", "input": "a", **body}
        self.headers: dict[str, str] = {}
        self.status = 0
        self.data = b""
        self._thread = Thread(target=self._call, daemon=True)

    def start(self) -> Caller:
        self._thread.start()
        return self

    def _call(self) -> None:
        answer = self._app.test_client().post(
            "/v1/responses",
            json=self._body,
            headers=self.headers,
            environ_overrides={"gunicorn.socket": self._theirs},
            buffered=False,
        )
        self.status = answer.status_code
        for piece in answer.iter_encoded():
            self.data += piece
        answer.close()

    def gone(self) -> None:
        """Wait until the server has let go of the request."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def status(system: System, job: str) -> Status:
    found = system.jobs.get(job, "local")
    assert found is not None
    return found.status


def cancelled(system: System, job: str) -> bool:
    """Say that the job is cancelled, sooner or later."""
    return until(lambda: status(system, job) is Status.CANCELLED)


def goes_on(system: System, job: str, seconds: float = 2 * LEAVE_SECONDS + 0.4) -> bool:
    """Say whether the job is not cancelled within twice the time that it has."""
    time.sleep(seconds)
    return status(system, job) is not Status.CANCELLED


def begin(client: FlaskClient, **more: Any) -> TestResponse:
    """Begin a stream and read its first event."""
    body = {"model": "text", "input": "a", "stream": True, **more.pop("json", {})}
    answer = client.post("/v1/responses", json=body, buffered=False, **more)
    next(answer.iter_encoded())
    return answer


def follow(client: FlaskClient, job: str) -> TestResponse:
    answer = client.get(f"/v1/responses/resp_{job}?stream=true", buffered=False)
    next(answer.iter_encoded())
    return answer


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_cancels_the_job(app: Flask, system: System, stream: bool) -> None:
    caller = Caller(app, stream=stream).start()
    job = first_job(system)
    left = time.monotonic()
    caller.connection.close()
    caller.gone()

    assert cancelled(system, job)
    assert time.monotonic() - left >= LEAVE_SECONDS
    assert caller.status == (200 if stream else 499)


def test_a_running_job_stops_at_its_next_step(app: Flask, system: System, worker: Worker) -> None:
    caller = Caller(app, model="slow", provider_options={"video": {"steps": 60}}).start()
    job = first_job(system)
    until(lambda: status(system, job) is Status.IN_PROGRESS)
    caller.connection.close()

    assert cancelled(system, job)
    done = app.test_client().post("/v1/responses", json={"model": "text", "input": "next"})
    assert done.get_json()["status"] == "completed"


def test_a_caller_who_closes_their_side_only_has_left(app: Flask, system: System) -> None:
    caller = Caller(app).start()
    job = first_job(system)
    caller.connection.shutdown(socket.SHUT_WR)
    caller.gone()

    assert cancelled(system, job)


def test_a_caller_who_sends_the_next_request_has_not_left(app: Flask, system: System) -> None:
    caller = Caller(app).start()
    job = first_job(system)
    caller.connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")

    assert goes_on(system, job)
    app.waiting.drain()
    caller.gone()


def test_a_caller_who_hangs_up_while_white_space_is_sent_cancels_the_job(system: System) -> None:
    caller = Caller(app_with(system, silent_seconds=0.1, pad_seconds=30)).start()
    job = first_job(system)
    until(lambda: caller.data)
    caller.connection.close()
    caller.gone()

    assert caller.status == 200
    assert cancelled(system, job)


def test_a_write_that_fails_counts_as_leaving(client: FlaskClient, system: System) -> None:
    begin(client).close()

    assert cancelled(system, first_job(system))


@pytest.mark.parametrize(("body", "headers"), KEPT.values(), ids=KEPT.keys())
def test_a_job_that_was_to_be_kept_goes_on(app: Flask, system: System, body: dict, headers: dict) -> None:
    caller = Caller(app, **body)
    caller.headers |= headers
    caller.start()
    job = first_job(system)
    caller.connection.close()
    caller.gone()

    assert goes_on(system, job)


@pytest.mark.parametrize("store", [False, None])
def test_a_store_that_is_not_true_keeps_nothing(app: Flask, system: System, store: bool | None) -> None:
    caller = Caller(app, store=store).start()
    job = first_job(system)
    caller.connection.close()

    assert cancelled(system, job)


def test_a_process_that_stops_cancels_nothing(app: Flask, system: System) -> None:
    caller = Caller(app).start()
    job = first_job(system)
    app.waiting.drain()
    caller.connection.close()
    caller.gone()

    assert goes_on(system, job)


def test_a_process_that_stops_forgets_who_left_just_before(system: System) -> None:
    app = app_with(system, LONG_SECONDS)
    caller = Caller(app).start()
    job = first_job(system)
    caller.connection.close()
    caller.gone()
    app.waiting.drain()

    assert goes_on(system, job, LONG_SECONDS + 0.5)


def test_a_wait_that_is_over_cancels_nothing(system: System) -> None:
    client = app_with(system, wait_seconds=0.1).test_client()
    answer = client.post("/v1/responses", json={"model": "text", "input": "a"})

    assert answer.get_json()["status"] == "queued"
    assert goes_on(system, first_job(system))


def test_a_job_that_somebody_else_waits_for_goes_on_until_they_leave(client: FlaskClient, system: System) -> None:
    first = begin(client)
    job = first_job(system)
    second = follow(client, job)
    first.close()
    assert goes_on(system, job)
    second.close()

    assert cancelled(system, job)


def test_a_job_that_somebody_comes_back_for_in_time_goes_on(system: System) -> None:
    client = app_with(system, LONG_SECONDS).test_client()
    begin(client).close()
    job = first_job(system)
    again = follow(client, job)

    assert goes_on(system, job, LONG_SECONDS + 0.5)
    again.close()


def test_a_reader_of_a_job_that_is_kept_cancels_nothing(client: FlaskClient, system: System) -> None:
    client.post("/v1/responses", json={"model": "text", "input": "a", "background": True})
    job = first_job(system)
    follow(client, job).close()

    assert goes_on(system, job)


def test_a_reader_who_leaves_frees_the_slot(system: System) -> None:
    app = app_with(system, threads=33)
    caller = Caller(app, stream=True).start()
    first_job(system)
    assert app.test_client().post("/v1/responses", json={"input": "a"}).status_code == 429
    caller.connection.close()
    caller.gone()

    begin(app.test_client()).close()


def test_a_finished_job_stays_finished(client: FlaskClient, system: System) -> None:
    answer = begin(client)
    job = first_job(system)
    found = system.jobs.claim("e", ClaimRequest(["text"]))
    assert found is not None
    system.jobs.finish(found[0], VIDEO)
    answer.close()

    assert goes_on(system, job)
    assert status(system, job) is Status.COMPLETED


def test_a_listener_hears_of_the_cancelling(client: FlaskClient, system: System) -> None:
    heard = []

    class Listener:
        @staticmethod
        def job_changed(job: Any) -> None:
            heard.append(job.status)

    from router import hookimpl

    Listener.job_changed = staticmethod(hookimpl(Listener.job_changed))
    system.plugins._manager.register(Listener)
    begin(client).close()

    assert cancelled(system, first_job(system))
    until(lambda: len(heard) > 1)
    assert heard == [Status.QUEUED, Status.CANCELLED]


def test_head_cancels_nothing(client: FlaskClient, system: System) -> None:
    first = begin(client)
    job = first_job(system)
    client.head(f"/v1/responses/resp_{job}?stream=true")

    assert goes_on(system, job)
    first.close()


JOB, OTHER = "a" * 32, "b" * 32


def _wait(path: Path, ready: Any) -> None:
    presence = LocalPresence(path)
    presence.enter(JOB)
    ready.set()
    time.sleep(60)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Yield a function to kill another process that waits for a job."""
    context = get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_wait, args=[tmp_path / "lock", ready], daemon=True)
    process.start()
    assert ready.wait(30)

    def kill() -> None:
        process.kill()
        process.join()

    yield kill
    kill()


def test_another_process_that_waits_is_seen_and_forgotten_when_it_dies(
    tmp_path: Path, elsewhere: Callable[[], None]
) -> None:
    presence = LocalPresence(tmp_path / "lock")

    assert not presence.is_empty(JOB)
    assert presence.is_empty(OTHER)
    elsewhere()
    assert presence.is_empty(JOB)


def test_a_job_has_no_waiter_when_the_last_of_several_has_left(tmp_path: Path) -> None:
    presence = LocalPresence(tmp_path / "lock")
    presence.enter(JOB)
    presence.enter(JOB)
    presence.leave(JOB)
    assert not presence.is_empty(JOB)
    presence.leave(JOB)

    assert presence.is_empty(JOB)
