"""`GET /v1/usage`: whose rows a caller sees, by day, owner, key and model."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert
from support.callers import client_of, make_key

from router.auth.keys import Scope, id_of
from router.jobs import ClaimRequest, open_database
from router.jobs.tables import ledger
from router.system import System
from router.values import Artifact, Usage
from router.web import create_app

TODAY = datetime.now(UTC).date()
AMOUNTS = {"gpu_seconds": 1.5, "steps": 4, "frames": 5, "pixels": 100, "cost": 0.25}
SUMS = {**{name: number for name, number in AMOUNTS.items() if name != "pixels"}, "total_pixels": 100}
SUM = {**SUMS, "jobs": {"completed": 1, "failed": 0, "cancelled": 0, "lost": 0}, "lost_gpu_seconds": 0}


def add(data: Path, owner: str, key: str = "", outcome: str = "completed", days_ago: int = 0, **more: Any) -> None:
    """Add a row to the ledger, of model `text` and one attempt."""
    day = (TODAY - timedelta(days_ago)).isoformat()
    row = {"day": day, "owner": owner, "key": key, "model": "text", "outcome": outcome, "attempts": 1, **AMOUNTS}
    with open_database(data / "jobs.sqlite").write() as db:
        db.execute(insert(ledger).values({**row, **more}))


def ask(client: FlaskClient, **query: str) -> dict[str, Any]:
    answer = client.get("/v1/usage", query_string=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def refused(client: FlaskClient, query: str) -> tuple[str, str, str]:
    """Return code, parameter and message of a refusal."""
    answer = client.get(f"/v1/usage?{query}")
    assert answer.status_code == 400, answer.text
    error = answer.get_json()["error"]
    return error["code"], error["param"], error["message"]


class Tenants:
    """Clients of two owners and of an admin, whose keys have a row each."""

    def __init__(self, system: System) -> None:
        app = create_app(system)
        self.ids: dict[str, str] = {}
        self.clients: dict[str, FlaskClient] = {}
        for name, owner in (("red", "reds"), ("red-2", "reds"), ("blue", "blues"), ("ops", "ops")):
            text = make_key(system, name, owner, (Scope.ADMIN,) if name == "ops" else (Scope.READ,))
            self.ids[name], self.clients[name] = id_of(text), client_of(app, text)
            if name != "ops":
                add(system.settings.data, owner, self.ids[name])

    def names(self, caller: str, **query: str) -> list[str]:
        """Return the names of the keys whose rows a caller gets."""
        return sorted(row["key_name"] for row in ask(self.clients[caller], **query)["data"])


@pytest.fixture
def tenants(system: System) -> Tenants:
    return Tenants(system)


def test_a_server_without_jobs_has_used_nothing(client: FlaskClient) -> None:
    nothing = {"completed": 0, "failed": 0, "cancelled": 0, "lost": 0}

    assert ask(client) == {
        "object": "list",
        "since": (TODAY - timedelta(29)).isoformat(),
        "until": TODAY.isoformat(),
        "data": [],
        "model_loads": [],
        "total": {**dict.fromkeys(SUM, 0), "jobs": nothing},
        "budgets": [],
    }


def test_without_keys_the_rows_are_those_of_everybody_here(client: FlaskClient, system: System) -> None:
    add(system.settings.data, "local")
    add(system.settings.data, "anna")
    add(system.settings.data, "", outcome="load")
    add(system.settings.data, "", outcome="load", model="image")
    answer = ask(client)

    names = {"day": TODAY.isoformat(), "owner": "local", "key": None, "key_name": None, "model": "text"}
    assert answer["data"] == [{**names, **SUM}]
    loads = [{"day": TODAY.isoformat(), "model": model, "count": 1, "seconds": 1.5} for model in ("image", "text")]
    assert (answer["total"], answer["model_loads"]) == (SUM, loads)
    assert ask(client, model="text")["model_loads"] == loads[1:]
    assert ask(client, owner="local")["model_loads"] == []


def test_a_key_sees_the_rows_of_its_owner_alone(tenants: Tenants) -> None:
    assert tenants.names("red") == tenants.names("red-2") == ["red", "red-2"]
    assert tenants.names("blue") == ["blue"]
    assert ask(tenants.clients["red"])["total"]["gpu_seconds"] == 3


def test_an_admin_sees_everybody_s_rows(tenants: Tenants) -> None:
    assert tenants.names("ops") == ["blue", "red", "red-2"]
    assert tenants.names("ops", owner="reds") == ["red", "red-2"]
    assert tenants.names("ops", owner="nobody") == []


def test_nobody_sees_the_rows_of_another_owner_by_asking_for_them(tenants: Tenants) -> None:
    assert tenants.names("red", owner="blues") == []
    assert tenants.names("red", owner="reds") == ["red", "red-2"]
    unknown = refused(tenants.clients["red"], "key=nobody")
    assert refused(tenants.clients["red"], "key=blue") == (*unknown[:2], unknown[2].replace("nobody", "blue"))
    assert refused(tenants.clients["red"], f"key={tenants.ids['blue']}")[:2] == ("invalid_value", "key")


def test_rows_of_one_key_by_its_name_or_id(tenants: Tenants) -> None:
    assert tenants.names("red", key="red-2") == tenants.names("ops", key=tenants.ids["red-2"]) == ["red-2"]


def test_only_a_key_that_may_read_asks(system: System) -> None:
    text = make_key(system, "maker", scopes=(Scope.GENERATE,))

    assert client_of(create_app(system), text).get("/v1/usage").status_code == 403


def test_loads_are_shown_to_admins_in_rows_of_their_own(tenants: Tenants, system: System) -> None:
    add(system.settings.data, "", outcome="load", attempts=2, gpu_seconds=7.25, cost=0)
    loads = [{"day": TODAY.isoformat(), "model": "text", "count": 2, "seconds": 7.25}]

    assert ask(tenants.clients["ops"])["model_loads"] == loads
    assert ask(tenants.clients["red"])["model_loads"] == []
    assert ask(tenants.clients["ops"])["total"]["gpu_seconds"] == 4.5


def test_outcomes_of_a_row_are_counted_and_what_was_lost_is_apart(client: FlaskClient, system: System) -> None:
    for outcome in ("completed", "failed", "cancelled", "lost"):
        add(system.settings.data, "local", outcome=outcome, attempts=2)
    (row,) = ask(client)["data"]

    assert row["jobs"] == {"completed": 2, "failed": 2, "cancelled": 2, "lost": 2}
    assert {name: row[name] for name in SUMS} == {name: 3 * each for name, each in SUMS.items()}
    assert row["lost_gpu_seconds"] == 1.5


def test_days_are_included_and_the_newest_is_first(client: FlaskClient, system: System) -> None:
    for days in (0, 1, 2, 29, 30):
        add(system.settings.data, "local", days_ago=days)
    days = [(TODAY - timedelta(n)).isoformat() for n in range(31)]

    def seen(**query: str) -> list[str]:
        return [row["day"] for row in ask(client, **query)["data"]]

    assert seen() == [days[0], days[1], days[2], days[29]]
    assert seen(since=days[2], until=days[1]) == [days[1], days[2]]
    assert seen(since=days[30])[-1] == days[30]
    assert seen(until=days[30]) == [days[30]]


def test_a_model_is_found_by_its_alias_too(client: FlaskClient, system: System) -> None:
    add(system.settings.data, "local")
    add(system.settings.data, "local", model="gone")

    assert [row["model"] for row in ask(client, model="org/text")["data"]] == ["text"]
    assert [row["model"] for row in ask(client, model="gone")["data"]] == ["gone"]
    assert ask(client, model="unheard")["data"] == []


@pytest.mark.parametrize(
    ("query", "param", "message"),
    [
        ("since=yesterday", "since", "since must be a day, such as 2026-12-01, got 'yesterday'"),
        ("until=2026-02-30", "until", "until must be a day, such as 2026-12-01, got '2026-02-30'"),
        ("since=20260101", "since", "since must be a day, such as 2026-12-01, got '20260101'"),
        ("since=", "since", "since must be a day, such as 2026-12-01, got ''"),
        (
            "since=2026-01-02&until=2026-01-01",
            "since",
            "since must be a day up to 2026-01-01, the last one, and at most 365 days before it, got '2026-01-02'",
        ),
        (
            "since=2024-12-31&until=2026-01-01",
            "since",
            "since must be a day up to 2026-01-01, the last one, and at most 365 days before it, got '2024-12-31'",
        ),
    ],
)
def test_bad_days_are_refused(client: FlaskClient, query: str, param: str, message: str) -> None:
    assert refused(client, query) == ("invalid_value", param, message)


@pytest.mark.parametrize("query", ["until=0001-01-01", "since=2025-01-01&until=2026-01-01", "until=9999-12-31"])
def test_days_at_the_ends_are_taken(client: FlaskClient, query: str) -> None:
    assert client.get(f"/v1/usage?{query}").status_code == 200


def test_an_unknown_parameter_is_refused(client: FlaskClient) -> None:
    assert refused(client, "modell=text") == (
        "unknown_parameter",
        "modell",
        "there is no parameter 'modell'; there are since, until, model, key, owner",
    )


def test_work_appears_once_it_is_done(client: FlaskClient, system: System) -> None:
    client.post("/v1/responses", json={"model": "text", "input": "a", "background": True})
    found = system.jobs.claim("e", ClaimRequest(["text"]))
    assert found is not None
    assert ask(client)["data"] == []
    system.jobs.finish(found[0], Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8), (), Usage(2.0, 4, 5, 20480))

    assert ask(client)["total"]["gpu_seconds"] == 2
