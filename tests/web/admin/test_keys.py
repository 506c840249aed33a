"""`/admin/keys`: limits, usage and budgets, and nothing that opens anything."""

from datetime import UTC, datetime, timedelta

from flask.testing import FlaskClient
from support.accounts import book
from support.callers import client_of, make_key

from router.accounting.budgets import Budget, Budgets
from router.auth.keys import digest, id_of
from router.jobs import OwnerStore
from router.system import System
from router.web import create_app


def test_keys_are_listed_with_limits_usage_and_budgets(system: System, boss: FlaskClient) -> None:
    text = make_key(system, "blue", "blues", queued=3, gpu_seconds=Budget.parse("3600/day"))
    database, today = system.database, datetime.now(UTC).date()
    for days, outcome in ((0, "completed"), (29, "failed"), (30, "completed"), (0, "lost")):
        book(database, (today - timedelta(days)).isoformat(), 10.0, owner="blues", key=id_of(text), outcome=outcome)
    answer = boss.get("/admin/keys")
    found = {key["name"]: key for key in answer.get_json()["data"]}
    blue = found["blue"]

    assert list(found) == ["boss", "team", "blue"]
    assert blue == {
        **blue, "id": id_of(text), "owner": "blues", "scopes": ["generate", "read"], "state": "active", "expires_at": None,
        "limits": {"queued": 3, "running": None, "per_minute": None, "gpu_seconds": "3600/day", "cost": None},
        "usage": {"jobs": 2, "gpu_seconds": 20, "cost": 0},
    }  # fmt: skip
    assert [(budget["subject"], budget["used"], budget["left"]) for budget in blue["budgets"]] == [("key", 10, 3590)]
    assert digest(text) not in answer.text
    assert text not in answer.text


def test_a_key_says_whether_it_opens_anything(system: System, boss: FlaskClient) -> None:
    make_key(system, "late", expires=-1)
    system.keys.revoke("team")
    found = {key["name"]: key for key in boss.get("/admin/keys").get_json()["data"]}

    assert {name: key["state"] for name, key in found.items()} == {
        "boss": "active", "team": "revoked", "late": "expired",
    }  # fmt: skip
    assert found["late"]["expires_at"] < datetime.now(UTC).timestamp()
    assert found["boss"]["scopes"] == ["admin"]


def test_a_server_without_keys_has_none(system: System) -> None:
    answer = create_app(system).test_client().get("/admin/keys").get_json()

    assert answer == {"object": "list", "data": []}


def test_many_budgets_are_read_at_once_as_each_alone(system: System, boss: FlaskClient) -> None:
    texts = [make_key(system, f"k{n}", f"o{n % 2}", gpu_seconds=Budget.parse("60/day")) for n in range(4)]
    database, today = system.database, datetime.now(UTC).date().isoformat()
    OwnerStore(database).limit("o1", Budgets(cost=Budget.parse("5/week")))
    for n, text in enumerate(texts):
        book(database, today, n + 1.0, owner=f"o{n % 2}", key=id_of(text))
    assert client_of(boss.application, texts[3]).post("/v1/videos", json={"prompt": "a"}).status_code == 200
    callers = [("o1", id_of(texts[3])), *((f"o{n % 2}", id_of(text)) for n, text in enumerate(texts)), ("none", "none")]

    assert system.budgets.all_balances(callers) == {
        (owner, key): system.budgets.balances(owner, key) for owner, key in callers
    }
