"""Who administers a server: keys of scope `admin`; without keys, this machine."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.callers import client_of, make_key

from router.auth.keys import Scope
from router.system import System
from router.web import create_app
from router.web.admin.views import NOUNS
from router.web.openapi.operations import Operation

OPERATIONS = [operation for noun in NOUNS for operation in noun.ROUTES.operations]


def status(client: FlaskClient, operation: Operation, **more: object) -> int:
    path = operation.path.replace("{engine_id}", "e").replace("{n}", "1")
    return client.open(path, method=operation.method, **more).status_code


def names(client: FlaskClient, **more: object) -> dict[str, int]:
    return {operation.id: status(client, operation, **more) for operation in OPERATIONS}


def app_of(system: System, **settings: object) -> Flask:
    return create_app(replace(system, settings=replace(system.settings, **settings)))


def test_only_a_key_of_scope_admin_may(system: System, boss: FlaskClient, team: FlaskClient) -> None:
    unknown = {"drainEngine": 404, "resumeEngine": 404}
    reader = client_of(create_app(system), make_key(system, "reader", scopes=(Scope.READ,)))

    assert set(names(team).values()) == set(names(reader).values()) == {403}
    assert names(boss) == {operation.id: unknown.get(operation.id, 200) for operation in OPERATIONS}
    refused = team.get("/admin/keys").get_json()["error"]
    assert (refused["code"], refused["type"]) == ("refused", "permission_error")
    assert refused["message"] == "this needs a key of scope admin, the key sent has generate and read"


def test_without_a_key_nobody_may_where_keys_are_needed(system: System, boss: FlaskClient) -> None:
    assert set(names(boss.application.test_client()).values()) == {401}


@pytest.mark.parametrize("no_auth", [False, True])
def test_without_keys_this_machine_may(system: System, no_auth: bool) -> None:
    found = names(app_of(system, no_auth=no_auth).test_client())

    assert {found[name] for name in found if "Engine" not in name} == {200}


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.7", {"x-forwarded-for": "198.51.100.7"}),  # through a trusted proxy
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),  # through one that nobody named
        ("127.0.0.1", {"forwarded": "for=198.51.100.7"}),
    ],
)
def test_without_keys_nobody_behind_a_proxy_may(system: System, peer: str, headers: dict[str, str]) -> None:
    client = app_of(system, no_auth=True, proxies=(ip_network("10.0.0.0/8"),)).test_client()
    environ = {"REMOTE_ADDR": peer}

    assert set(names(client, headers=headers, environ_overrides=environ).values()) == {403}
    refused = client.get("/admin/keys", headers=headers, environ_overrides=environ).get_json()["error"]
    assert refused["message"] == (
        "without keys the server is administered from this machine only, "
        "got one from elsewhere, under another name, or by a page of another site"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},  # a name that its owner lets resolve to loopback
        {"host": "evil.example", "origin": "http://evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_behind_a_proxy_of_this_machine_no_page_of_another_site_may(system: System, headers: dict[str, str]) -> None:
    client = app_of(system, no_auth=True, proxies=(ip_network("10.0.0.0/8"),)).test_client()
    environ = {"REMOTE_ADDR": "10.0.0.7"}
    local = {"host": "localhost", "x-forwarded-for": "127.0.0.1"}
    sent = {"environ_overrides": environ, "content_type": "application/json"}

    assert client.post("/admin/reload", headers=local, **sent).status_code == 200
    assert client.post("/admin/reload", headers={**local, **headers}, **sent).status_code == 403
    assert client.get("/v1/models", headers={**local, **headers}, environ_overrides=environ).status_code == 200


def test_a_page_of_another_site_may_not(system: System) -> None:
    client = create_app(system).test_client()

    assert client.post("/admin/reload", headers={"origin": "https://evil.example"}).status_code == 403
