"""Budgets over HTTP: refusals in every dialect, before any image, and their listing."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import MODELS, data_url, leftovers, png, with_image
from flask.testing import FlaskClient
from support.accounts import book
from support.callers import client_of, make_key
from werkzeug.test import TestResponse

from router.accounting.budgets import Budget, Budgets, Window
from router.auth.keys import LOCAL, Scope
from router.intake.expectation import default_task
from router.jobs import Database, OwnerStore
from router.settings import Settings
from router.system import System, assemble
from router.values import WorkSeconds
from router.web import create_app

ASK = {"model": "text", "input": "a", "background": True}
WAYS: dict[str, dict[str, Any]] = {
    "/v1/responses": ASK,
    "/v1/videos": {"model": "text", "prompt": "a"},
    "/v1/videos/generations": {"model": "text", "prompt": "a"},
    "/v1/images/generations": {"model": "text", "prompt": "a"},
}
BAD_IMAGES = ("data:image/png;base64,AAAA", "http://127.0.0.1:9/a.png")
DAY = Budget(60, Window.DAY)


@pytest.fixture
def database(system: System) -> Database:
    return system.database


def learn(system: System, name: str, seconds: WorkSeconds) -> None:
    """Let a request without options have taken this long."""
    model = system.registries.model(name, None)
    assert model is not None
    task = default_task(model)
    assert task is not None
    system.timings.learn("cpu", model, task, seconds)


def limit(database: Database, owner: str = LOCAL) -> None:
    """Give an owner a budget of 60 gpu-seconds a day."""
    OwnerStore(database).limit(owner, Budgets(DAY))


def spend(database: Database, seconds: float = 60.0, owner: str = LOCAL, key: str = "") -> None:
    book(database, f"{datetime.now(UTC):%Y-%m-%d}", seconds, owner=owner, key=key)


def message(answer: TestResponse, system: System) -> str:
    """Return the message of a refusal by a budget; check its form."""
    error = answer.get_json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert leftovers(system) == []
    return str(error["message"])


@pytest.mark.parametrize("path", WAYS)
def test_a_spent_budget_is_refused_in_every_dialect(
    client: FlaskClient, system: System, database: Database, path: str
) -> None:
    limit(database)
    spend(database)

    said = message(client.post(path, json=WAYS[path]), system)
    assert said.startswith("the budget of owner local is 60 gpu-seconds a day: 60 are used, nothing is left until 20")
    assert said.endswith(" 00:00 UTC")
    assert system.jobs.newest() == 0


def test_a_job_reserves_and_a_cancelled_one_does_not(client: FlaskClient, system: System, database: Database) -> None:
    limit(database)
    first = client.post("/v1/responses", json=ASK)
    assert first.status_code == 200

    assert "the rest is reserved until 1 unfinished job ends" in message(client.post("/v1/responses", json=ASK), system)
    client.post(f"/v1/responses/{first.get_json()['id']}/cancel")
    assert client.post("/v1/responses", json=ASK).status_code == 200


def test_a_repeated_request_is_the_same_job_whatever_the_budget(client: FlaskClient, database: Database) -> None:
    limit(database)
    name = {"Idempotency-Key": "order 66"}
    first = client.post("/v1/responses", json=ASK, headers=name)
    spend(database)
    again = client.post("/v1/responses", json=ASK, headers=name)

    assert (again.status_code, again.get_json()["id"]) == (200, first.get_json()["id"])


@pytest.mark.parametrize("url", BAD_IMAGES)
def test_a_spent_budget_is_refused_before_an_image_is_looked_at(
    client: FlaskClient, system: System, database: Database, url: str
) -> None:
    limit(database)
    spend(database)

    message(client.post("/v1/responses", json={**ASK, "model": "image", "input": with_image("a", url)}), system)


@pytest.mark.parametrize("size", [{}, {"size": "64x64"}], ids=["of the image", "requested"])
@pytest.mark.parametrize("url", BAD_IMAGES)
def test_a_request_beyond_the_budget_is_refused_before_an_image_is_looked_at(
    client: FlaskClient, system: System, database: Database, url: str, size: dict[str, str]
) -> None:
    limit(database)  # nothing is used, and two jobs of unknown length are too many
    edit = {"model": "image", "prompt": "a", "image": url, "n": 2, **size}
    assert "brings 2 jobs whose length is not known yet" in message(client.post("/v1/images/edits", json=edit), system)

    learn(system, "image", WorkSeconds(text=1.0, steps=30.0, decode=1.0, encode=1.0))
    assert "needs about" in message(client.post("/v1/images/edits", json=edit), system)


def test_a_request_within_the_budget_is_refused_for_its_image(client: FlaskClient, database: Database) -> None:
    limit(database)
    for image, status in ((BAD_IMAGES[0], 400), (data_url(png()), 200)):
        body = {**ASK, "model": "image", "input": with_image("a", image)}
        assert client.post("/v1/responses", json=body).status_code == status


def test_a_key_is_bound_by_its_own_budget_and_its_owner_s(system: System, database: Database) -> None:
    own, other = make_key(system, "own", "team", gpu_seconds=DAY), make_key(system, "other", "team")
    spend(database, owner="team", key=own[:11])
    app = create_app(system)

    said = message(client_of(app, own).post("/v1/responses", json=ASK), system)
    assert said.startswith("the budget of key own is 60 gpu-seconds a day")
    assert client_of(app, other).post("/v1/responses", json=ASK).status_code == 200
    limit(database, "team")
    said = message(client_of(app, other).post("/v1/videos", json=WAYS["/v1/videos"]), system)
    assert said.startswith("the budget of owner team is 60 gpu-seconds a day")


def test_an_admin_is_bound_too(system: System, database: Database) -> None:
    text = make_key(system, "root", scopes=(Scope.ADMIN,), gpu_seconds=DAY)
    spend(database, owner="root", key=text[:11])

    message(client_of(create_app(system), text).post("/v1/responses", json=ASK), system)


def test_defaults_bind_keys_and_owners_without_their_own(settings: Settings, database: Database) -> None:
    system = assemble(replace(settings, key_gpu_seconds=DAY, owner_cost=Budget(5, Window.MONTH)))
    text = make_key(system, "team")
    spend(database, 70.0, "team", text[:11])
    keyed = client_of(create_app(system), text)

    assert message(keyed.post("/v1/responses", json=ASK), system).startswith("the budget of key team is 60")
    assert keyed.get("/v1/models").get_json()["limits"]["key"]["gpu_seconds"] == "60/day"


def test_spent_money_refuses_models_with_a_price_only(settings: Settings, database: Database) -> None:
    settings.models.write_text(MODELS.replace("steps: 60}", "steps: 60}, price: 0.01", 1))
    system = assemble(replace(settings, owner_cost=Budget(5, Window.MONTH)))
    client = create_app(system).test_client()
    assert client.post("/v1/responses", json=ASK).status_code == 200
    book(database, f"{datetime.now(UTC):%Y-%m-%d}", 1.0, owner=LOCAL, cost=6.0)

    said = message(client.post("/v1/responses", json=ASK), system)
    assert said.startswith("the budget of owner local is 5 of cost a month: 6 is used")
    assert client.post("/v1/responses", json={**ASK, "model": "slow"}).status_code == 200


def test_a_key_sees_its_budgets(system: System) -> None:
    text = make_key(system, "team", gpu_seconds=DAY, cost=Budget(20.5, Window.MONTH))

    assert client_of(create_app(system), text).get("/v1/models").get_json()["limits"]["key"] == {
        "queued": None, "running": None, "per_minute": None, "gpu_seconds": "60/day", "cost": "20.5/month",
    }  # fmt: skip


def test_a_key_sees_what_is_left_of_its_budgets_and_its_owner_s(system: System, database: Database) -> None:
    text, admin = (
        make_key(system, "ci", "team", cost=Budget(20.5, Window.MONTH)),
        make_key(system, "root", scopes=(Scope.ADMIN,)),
    )
    limit(database, "team")
    spend(database, 12.34567, "team")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    app = create_app(system)

    assert client_of(app, text).get("/v1/usage").get_json()["budgets"] == [
        {"subject": "owner", "name": "team", "unit": "gpu_seconds", "amount": 60.0, "window": "day", "used": 12.346,
         "reserved": 0.0, "left": 47.654, "resets_at": int(today.timestamp()) + 86400},
        {"subject": "key", "name": "ci", "unit": "cost", "amount": 20.5, "window": "month", "used": 0.0,
         "reserved": 0.0, "left": 20.5, "resets_at": int(Window.MONTH.ends(today).timestamp())},
    ]  # fmt: skip
    assert client_of(app, admin).get("/v1/usage").get_json()["budgets"] == []


def test_an_admin_sees_the_budgets_of_the_key_or_owner_that_it_asks_for(system: System, database: Database) -> None:
    ci, ops = make_key(system, "ci", "team", gpu_seconds=DAY), make_key(system, "ops", "team", cost=DAY)
    root = make_key(system, "root", scopes=(Scope.ADMIN,), gpu_seconds=DAY)
    limit(database, "team")
    app = create_app(system)

    def seen(text: str, query: str) -> list[tuple[str, str]]:
        budgets = client_of(app, text).get(f"/v1/usage?{query}").get_json()["budgets"]
        return [(budget["subject"], budget["name"]) for budget in budgets]

    team, of_ci = ("owner", "team"), ("key", "ci")
    assert seen(root, "") == seen(root, "key=root") == [("key", "root")]
    assert seen(root, "key=ci") == seen(root, f"key={ci[:11]}&owner=team") == seen(ci, "") == [team, of_ci]
    assert seen(root, "owner=team") == seen(ops, "owner=team") == seen(ops, "key=ci") == [team]
    assert seen(ops, "key=ops") == [team, ("key", "ops")]
    assert seen(root, "owner=nobody") == seen(root, "key=ci&owner=root") == seen(ops, "owner=root") == []


def test_money_of_budgets_is_listed_as_precisely_as_that_of_usage(client: FlaskClient, database: Database) -> None:
    OwnerStore(database).limit(LOCAL, Budgets(cost=Budget(1, Window.DAY)))
    book(database, f"{datetime.now(UTC):%Y-%m-%d}", 1.0, owner=LOCAL, cost=0.0003469)
    answer = client.get("/v1/usage").get_json()

    assert answer["budgets"][0]["used"] == answer["total"]["cost"] == 0.000347


def test_a_job_that_is_held_back_has_a_warning(client: FlaskClient, database: Database) -> None:
    first, second = (client.post("/v1/videos", json=WAYS["/v1/videos"]).get_json()["id"] for _ in range(2))
    limit(database)
    spend(database)
    client.delete(f"/v1/videos/{first}")  # a change of the queue, as the end of the job that spent the budget is

    (warning,) = client.get(f"/v1/videos/{second}").get_json()["warnings"]
    assert warning.startswith("waits for the budget of owner local, which is used up until 20")
