"""`GET /v1/me`: the owner, scopes and limits of a key."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.callers import USUAL, client_of, make_key

from router.accounting.budgets import Budget, Window
from router.auth.keys import Scope
from router.system import System
from router.web import create_app


def me(client: FlaskClient, **more: Any) -> dict[str, Any]:
    answer = client.get("/v1/me", **more)
    assert answer.status_code == 200, answer.get_json()
    return dict(answer.get_json())


def test_a_key_has_a_name_scopes_and_limits(system: System) -> None:
    text = make_key(system, "ci", "team", queued=3, gpu_seconds=Budget(60, Window.DAY))

    assert me(client_of(create_app(system), text)) == {
        "object": "caller",
        "owner": "team",
        "key": {"id": text[:11], "name": "ci", "scopes": ["generate", "read"]},
        "admin": False,
        "limits": {"queued": 3, "running": None, "per_minute": None, "gpu_seconds": "60/day", "cost": None},
    }


@pytest.mark.parametrize(
    ("scopes", "admin"), [((Scope.READ,), False), ((Scope.ADMIN,), True), ((*USUAL, Scope.ADMIN), True)]
)
def test_scope_admin_makes_an_admin(system: System, scopes: tuple[Scope, ...], admin: bool) -> None:
    assert me(client_of(create_app(system), make_key(system, "a", scopes=scopes)))["admin"] is admin


def test_the_text_and_the_digest_of_a_key_are_not_shown(system: System) -> None:
    text = make_key(system, "ci")
    answer = client_of(create_app(system), text).get("/v1/me").text

    assert text not in answer
    assert "digest" not in answer


def test_without_a_key_the_server_says_how_to_send_one(system: System) -> None:
    make_key(system, "ci")
    answer = create_app(system).test_client().get("/v1/me")

    assert answer.status_code == 401
    assert (
        answer.get_json()["error"]["message"] == "this server needs a key: send the header 'Authorization: Bearer KEY'"
    )


def test_without_keys_whoever_is_on_this_machine_is_an_admin(client: FlaskClient) -> None:
    assert me(client) == {"object": "caller", "owner": "local", "key": None, "admin": True, "limits": None}


def test_where_nobody_needs_a_key_others_and_callers_of_unknown_proxies_are_no_admins(system: System) -> None:
    open_to_all = replace(system, settings=replace(system.settings, no_auth=True))
    client = create_app(open_to_all).test_client()

    assert me(client)["admin"] is True
    assert me(client, headers={"X-Forwarded-For": "203.0.113.9"})["admin"] is False
