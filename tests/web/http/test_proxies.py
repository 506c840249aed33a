"""Addresses of clients behind trusted proxies, and files sent by nginx."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from router.engine.worker import Worker
from router.system import System
from router.web import create_app
from router.web.http.proxies import Proxies

UNIX = {"REMOTE_ADDR": ""}


@pytest.fixture
def client(system: System) -> FlaskClient:
    settings = replace(system.settings, accel="/inner", no_auth=True)
    return create_app(replace(system, settings=settings)).test_client()


@pytest.fixture
def caller() -> Iterator[Any]:
    """Return whom an application sees as its caller."""
    app = Flask("test")
    app.add_url_rule("/", view_func=lambda: request.remote_addr or "nobody")
    app.wsgi_app = Proxies(app.wsgi_app, (ip_network("10.0.0.0/8"), ip_network("::1/128")))  # type: ignore[method-assign]

    def ask(peer: str, *forwarded: str) -> str:
        headers = [("x-forwarded-for", one) for one in forwarded]
        return app.test_client().get("/", headers=headers, environ_overrides={"REMOTE_ADDR": peer}).text

    return ask


@pytest.mark.parametrize("peer", ["", "10.1.2.3", "::1", "::ffff:10.0.0.1"])
def test_a_trusted_proxy_is_believed(caller: Any, peer: str) -> None:
    assert caller(peer, "198.51.100.7") == "198.51.100.7"
    assert caller(peer, "2001:DB8::1") == "2001:db8::1"
    assert caller(peer, "1.1.1.1, 198.51.100.7") == "198.51.100.7"  # the first is what the caller sent
    assert caller(peer, "1.1.1.1", "198.51.100.7") == "198.51.100.7"


@pytest.mark.parametrize("peer", ["127.0.0.1", "11.0.0.1", "2001:db8::2"])
def test_nobody_else_is(caller: Any, peer: str) -> None:
    assert caller(peer, "198.51.100.7") == peer


@pytest.mark.parametrize("header", ["", "unknown", "1.2.3.4:80", "1.2.3.4,", "<b>"])
def test_what_is_no_address_is_ignored(caller: Any, header: str) -> None:
    assert caller("10.0.0.1", header) == "10.0.0.1"


def test_the_log_names_the_caller(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client.get("/healthz", headers={"x-forwarded-for": "198.51.100.7"}, environ_overrides=UNIX)
    client.get("/healthz", environ_overrides=UNIX)

    lines = [record.getMessage() for record in caplog.records if "healthz" in record.getMessage()]
    assert [line.rpartition(" for ")[2] for line in lines] == ["198.51.100.7", "a unix socket"]


@pytest.mark.parametrize(("forwarded", "status"), [("198.51.100.7", 403), ("127.0.0.1", 200), ("::1", 200)])
def test_whom_a_proxy_brings_from_elsewhere_is_a_stranger(system: System, forwarded: str, status: int) -> None:
    client = create_app(system).test_client()
    answer = client.get("/v1/models", headers={"x-forwarded-for": forwarded}, environ_overrides=UNIX)

    assert answer.status_code == status


def test_a_file_is_left_to_the_proxy_that_asks_for_it(client: FlaskClient, worker: Worker) -> None:
    job = client.post("/v1/responses", json={"model": "text", "input": "a"}).get_json()["id"].removeprefix("resp_")
    path = f"/v1/videos/video_{job}/content"
    proxied = {"headers": {"x-forwarded-for": "198.51.100.7"}, "environ_overrides": UNIX}
    handed = client.get(path, **proxied)
    still = client.get(f"{path}?variant=thumbnail", **proxied)
    direct = client.get(path)
    named = [client.get(f"{path}?filename=Grüße,%20../a%22%0a", **by) for by in (proxied, {})]
    bare = client.get(path, environ_overrides=UNIX)
    spoofed = client.get(path, headers={"x-forwarded-for": "198.51.100.7"})

    assert (handed.data, handed.mimetype) == (b"", "video/mp4")
    assert handed.headers["x-accel-redirect"] == f"/inner/{job}/1.mp4"
    assert still.headers["x-accel-redirect"] == f"/inner/{job}/1.thumbnail.webp"
    assert [one.headers["content-disposition"] for one in (handed, direct)] == [f"inline; filename=video_{job}.mp4"] * 2
    name = f"filename*=UTF-8''Gr%C3%BC%C3%9Fe-a-{job[:8]}.mp4"
    assert all(one.headers["content-disposition"].endswith(name) for one in named)
    assert all(one.data[4:8] == b"ftyp" and "x-accel-redirect" not in one.headers for one in (direct, bare, spoofed))


def test_the_error_for_a_job_that_is_not_ready_is_ours(client: FlaskClient) -> None:
    job = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True}).get_json()["id"]
    path = f"/v1/videos/{job.replace('resp', 'video')}/content"
    answer = client.get(path, headers={"x-forwarded-for": "198.51.100.7"}, environ_overrides=UNIX)

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_ready")
