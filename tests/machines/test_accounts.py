"""Idempotency, usage and budgets of callers who ask several machines."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from support.accounts import book
from support.callers import client_of, make_key

from router.accounting.budgets import Budget, Budgets, Window
from router.jobs import ClaimRequest, OwnerStore
from router.system import System
from router.values import Artifact, Job
from router.web import create_app

Pair = tuple[System, System]
ASK = {"model": "text", "input": "a", "background": True}
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@pytest.fixture
def clients(pair: Pair) -> tuple[FlaskClient, FlaskClient]:
    """Return clients with one key, one at each machine."""
    key = make_key(pair[0], "team", owner="studio")
    one, two = (client_of(create_app(system), key) for system in pair)
    return one, two


def ask(client: FlaskClient, key: str = "", **body: object) -> tuple[int, str]:
    answer = client.post("/v1/responses", json={**ASK, **body}, headers={"idempotency-key": key} if key else {})
    said = answer.get_json()
    return answer.status_code, said["id"] if answer.status_code == 200 else said["error"]["code"]


def test_a_repeated_request_gets_the_same_job_at_another_machine(clients: tuple[FlaskClient, ...], pair: Pair) -> None:
    one, two = clients
    first = ask(one, "k")

    assert ask(two, "k") == first
    assert ask(two, "k", input="b") == (422, "idempotency_key_reuse")
    assert pair[0].jobs.page(None, after=None, limit=10, newest_first=True) == (_job(pair[1], first[1]),)


def _job(system: System, answer_id: str) -> Job | None:
    return system.jobs.get(answer_id.removeprefix("resp_"), None)


def test_a_request_sent_to_both_machines_at_once_makes_one_job(clients: tuple[FlaskClient, ...], pair: Pair) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda n: ask(clients[n % 2], "k"), range(16)))

    assert len(found) == 1
    assert {status for status, _ in found} == {200}
    assert len(pair[0].jobs.page(None, after=None, limit=10, newest_first=True) or ()) == 1


def test_what_one_machines_engine_works_is_in_the_usage_of_all(clients: tuple[FlaskClient, ...], pair: Pair) -> None:
    _, made = ask(clients[1])
    claimed = pair[0].jobs.claim("engine of one", ClaimRequest(["text"]))
    assert claimed is not None
    lease, job = claimed
    assert f"resp_{job.id}" == made
    assert pair[1].jobs.claim("engine of two", ClaimRequest(["text"])) is None
    pair[0].jobs.finish(lease, VIDEO)

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    rows = [system.ledger.rows(today, today) for system in pair]
    assert rows[0] == rows[1]
    assert [(row.owner, row.model, row.attempts) for row in rows[1]] == [("studio", "text", 1)]
    usage = [client.get("/v1/usage").get_json() for client in clients]
    assert usage[0] == usage[1]


def test_a_budget_reserved_or_spent_at_one_machine_is_so_at_the_other(
    clients: tuple[FlaskClient, ...], pair: Pair
) -> None:
    one, two = clients
    OwnerStore(pair[0].database).limit("studio", Budgets(Budget(60, Window.DAY)))
    _, made = ask(one)  # how long it takes is unknown yet: it reserves the whole budget
    assert ask(two) == (429, "insufficient_quota")
    pair[1].jobs.cancel(made.removeprefix("resp_"), None)
    _, made = ask(two)
    pair[0].jobs.cancel(made.removeprefix("resp_"), None)
    book(pair[1].database, f"{datetime.now(UTC):%Y-%m-%d}", 60.0, owner="studio")

    assert [ask(client) for client in clients] == [(429, "insufficient_quota")] * 2


def test_the_limit_of_queued_jobs_of_a_key_holds_for_all_machines(pair: Pair) -> None:
    key = make_key(pair[0], "few", queued=3)
    one, two = (client_of(create_app(system), key) for system in pair)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: ask((one, two)[n % 2])[0], range(12)))

    assert sorted(found) == [200] * 3 + [429] * 9
