"""`GET /v1/responses/ID/input_items`: what a response was made from, without its megabytes."""

import hashlib
import sqlite3
from typing import Any

import pytest
from conftest import data_url, png, with_image
from flask.testing import FlaskClient

from router.system import System

PICTURE = png(96, 32)


def made(client: FlaskClient, **body: Any) -> str:
    return client.post("/v1/responses", json={"model": "any", "input": "a cat", "background": True, **body}).get_json()[
        "id"
    ]


def items(client: FlaskClient, response: str, query: str = "") -> Any:
    return client.get(f"/v1/responses/{response}/input_items{query}")


def test_the_prompt_is_one_message_of_the_user(client: FlaskClient) -> None:
    response = made(client)
    page = items(client, response).get_json()

    (message,) = page["data"]
    assert page == {
        "object": "list",
        "data": [message],
        "first_id": message["id"],
        "last_id": message["id"],
        "has_more": False,
    }
    assert message == {
        "type": "message",
        "id": response.replace("resp", "msg_in"),
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "a cat"}],
    }


MESSAGES = [
    {"role": "system", "content": "in oil"},
    {"role": "developer", "content": "at dusk"},
    {"role": "user", "content": "a cat"},
]


@pytest.mark.parametrize("instructions", [None, "be brief", "in oil"])
@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_text_is_the_systems_and_instructions_are_no_item(
    client: FlaskClient, system: System, role: str, instructions: str | None
) -> None:
    messages = [{"role": role, "content": "in oil"}, {"role": "user", "content": "a cat"}]
    response = made(client, input=messages, instructions=instructions)
    page = items(client, response).get_json()
    job = system.jobs.get(response.removeprefix("resp_"), "local")

    said = [(item["role"], [part["text"] for part in item["content"]]) for item in page["data"]]
    assert said == [("user", ["a cat"]), ("system", ["in oil"])]
    assert job is not None
    assert job.task.prompt == "\n".join(filter(None, [instructions, "in oil", "a cat"]))


def test_system_text_comes_first_where_the_oldest_does(client: FlaskClient) -> None:
    response = made(client, input=MESSAGES)
    oldest = items(client, response, "?order=asc&limit=1").get_json()
    following = items(client, response, f"?order=asc&after={oldest['last_id']}").get_json()

    assert (oldest["data"][0]["role"], oldest["has_more"]) == ("system", True)
    assert [part["text"] for part in oldest["data"][0]["content"]] == ["in oil", "at dusk"]
    assert ([item["role"] for item in following["data"]], following["has_more"]) == (["user"], False)


def test_the_instructions_of_an_older_row_are_no_item(client: FlaskClient, system: System) -> None:
    response = made(client, instructions="be brief")
    with sqlite3.connect(system.settings.data / "jobs.sqlite") as db:
        db.execute("UPDATE jobs SET form = json_remove(form, '$.prompt')")

    assert items(client, response).get_json()["data"][0]["content"][0]["text"] == "a cat"


def test_an_image_shows_what_it_is(client: FlaskClient) -> None:
    page = items(client, made(client, input=with_image("go", data_url(PICTURE)))).get_json()

    assert page["data"][0]["content"][0] == {
        "type": "input_image",
        "image_url": None,
        "detail": "auto",
        "role": "image",
        "media_type": "image/png",
        "bytes": len(PICTURE),
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
    }


@pytest.mark.parametrize("name", ["include", "include[]"])
def test_an_image_comes_whole_to_those_who_ask(client: FlaskClient, name: str) -> None:
    response = made(client, input=with_image("go", data_url(PICTURE)))
    page = items(client, response, f"?{name}=message.input_image.image_url").get_json()

    assert page["data"][0]["content"][0]["image_url"] == data_url(PICTURE)


def test_pages_end(client: FlaskClient) -> None:
    response = made(client)
    last = items(client, response).get_json()["last_id"]
    after = items(client, response, f"?after={last}&order=asc&limit=100").get_json()
    none = items(client, response, "?limit=0").get_json()

    assert (after["data"], after["has_more"]) == ([], False)
    assert (none["data"], none["has_more"]) == ([], True)


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [("?limit=101", 400, "limit"), ("?limit=x", 400, "limit"), ("?order=up", 400, "order"), ("?after=x", 404, "after")],
)
def test_a_page_that_cannot_be_is_refused(client: FlaskClient, query: str, status: int, param: str) -> None:
    answer = items(client, made(client), query)

    assert (answer.status_code, answer.get_json()["error"]["param"]) == (status, param)


def test_an_unknown_response_has_no_items(client: FlaskClient) -> None:
    assert items(client, "resp_" + "0" * 32).status_code == 404
