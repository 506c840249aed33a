"""`/admin/queue` and `/admin/failures`."""

import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from router.jobs import ClaimRequest
from router.system import System
from router.values import Artifact, Failure, Usage

VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


def queue(client: FlaskClient, model: str = "text") -> str:
    answer = client.post("/v1/videos", json={"model": model, "prompt": "a"})
    return str(answer.get_json()["id"])


def ask(client: FlaskClient, path: str) -> dict[str, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def fail(system: System, message: str) -> None:
    claim = system.jobs.claim("e", ClaimRequest(["text"]))
    assert claim is not None
    system.jobs.fail(claim[0], Failure("out_of_memory", message), Usage(1.5))


def change(system: System, statement: str, *values: object) -> None:
    with sqlite3.connect(system.settings.data / "jobs.sqlite") as db:
        db.execute(statement, values)


def test_an_idle_server_has_no_queue_and_24_hours_of_nothing(boss: FlaskClient) -> None:
    found = ask(boss, "/admin/queue")
    nothing = {"completed": 0, "failed": 0, "cancelled": 0, "gpu_seconds": 0}

    assert (found["object"], found["data"], len(found["hours"])) == ("queue", [], 24)
    assert [hour for hour in found["hours"] if {**hour, **nothing} != hour] == []
    assert found["hours"][-1]["hour"] == datetime.now(UTC).strftime("%Y-%m-%dT%H:00:00Z")


def test_the_queue_is_counted_by_model(system: System, team: FlaskClient, boss: FlaskClient) -> None:
    for model in ("text", "text", "both", "text"):
        queue(team, model)
    assert system.jobs.claim("e", ClaimRequest(["text"])) is not None
    change(system, "UPDATE jobs SET estimate = 2.5 WHERE model = 'text'")
    change(system, "UPDATE jobs SET created_at = created_at - 100")
    both, text = ask(boss, "/admin/queue")["data"]

    assert both == {**both, "model": "both", "queued": 1, "running": 0, "expected_seconds": None}
    assert text == {**text, "model": "text", "queued": 2, "running": 1, "expected_seconds": 5.0}
    assert all(100 <= each["oldest_seconds"] < 160 for each in (both, text))


def test_ended_jobs_are_counted_by_the_hour(system: System, team: FlaskClient, boss: FlaskClient) -> None:
    for _ in range(4):
        queue(team)
    for _ in range(2):
        claim = system.jobs.claim("e", ClaimRequest(["text"]))
        assert claim is not None
        system.jobs.finish(claim[0], VIDEO, (), Usage(2.25))
    fail(system, "no")
    last = system.jobs.page(None, after=None, limit=1, newest_first=True)
    assert last is not None
    assert system.jobs.cancel(last[0].id, None) is not None
    change(system, "UPDATE jobs SET finished_at = finished_at - 7200 WHERE seq = 1")
    change(system, "UPDATE jobs SET finished_at = finished_at - 90000 WHERE seq = 2")
    hours = [hour for hour in ask(boss, "/admin/queue")["hours"] if hour["completed"] or hour["failed"]]

    assert [{name: hour[name] for name in hour if name != "hour"} for hour in hours] == [
        {"completed": 1, "failed": 0, "cancelled": 0, "gpu_seconds": 2.25},
        {"completed": 0, "failed": 1, "cancelled": 1, "gpu_seconds": 1.5},
    ]


def test_failures_are_listed_with_their_reasons(system: System, team: FlaskClient, boss: FlaskClient) -> None:
    first = queue(team)
    fail(system, "the device has too little memory")
    found = ask(boss, "/admin/failures")
    (failure,) = found["data"]

    assert failure.pop("request_id")
    times = failure.pop("created_at"), failure.pop("finished_at")
    assert all(0 <= time.time() - at < 600 for at in times)
    assert failure == {
        "id": first, "model": "text", "owner": "reds", "key_name": "team", "code": "out_of_memory",
        "message": "the device has too little memory", "attempts": 1, "cause": None,
    }  # fmt: skip
    assert (found["first_id"], found["last_id"], found["has_more"]) == (first, first, False)


def test_failures_come_page_by_page_the_last_to_fail_first(
    system: System, team: FlaskClient, boss: FlaskClient
) -> None:
    videos = [queue(team) for _ in range(3)]
    for number in range(3):
        fail(system, str(number))
    change(system, "UPDATE jobs SET finished_at = 1000 + seq % 2")  # two at the same moment
    cancelled = queue(team)
    system.jobs.cancel(cancelled.removeprefix("video_"), None)
    pages, after = [], ""
    for _ in range(3):
        page = ask(boss, f"/admin/failures?limit=1{after}")
        pages += [(page["data"][0]["id"], page["has_more"])]
        after = f"&after={page['last_id']}"

    assert pages == [(videos[2], True), (videos[0], True), (videos[1], False)]
    assert ask(boss, f"/admin/failures?after={videos[1]}")["data"] == []


@pytest.mark.parametrize("after", ["nobody", f"video_{'0' * 32}", f"resp_{'0' * 32}"])
def test_a_page_after_an_unknown_failure_is_refused(boss: FlaskClient, after: str) -> None:
    answer = boss.get(f"/admin/failures?after={after}")

    assert (answer.status_code, answer.get_json()["error"]["param"]) == (404, "after")
