"""Keys: accepted and refused callers, and no key in any answer or log."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event
from support.callers import bearer, client_of, make_key
from support.patience import until
from werkzeug.test import TestResponse

from router.auth.keys import Scope, new_text
from router.system import System, assemble
from router.web import create_app
from router.web.auth.key_cache import FRESH_SECONDS

OPEN = ("/", "/studio/app.js", "/healthz", "/readyz", "/docs", "/openapi.json")
ASK = {"model": "text", "input": "a", "background": True}
READS = (
    "/v1/models", "/v1/models/text", "/v1/videos", f"/v1/videos/video_{'0' * 32}", f"/v1/responses/resp_{'0' * 32}",
    f"/v1/responses/resp_{'0' * 32}/input_items", f"/v1/videos/video_{'0' * 32}/content", f"/v1/images/image_{'0' * 32}/content",
)  # fmt: skip


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def error(answer: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = answer.get_json()["error"]
    return found


def test_without_a_key_nobody_is_let_in(client: FlaskClient) -> None:
    for answer in (
        *(client.get(path) for path in READS),
        client.post("/v1/responses", json=ASK),
        client.options("/v1/videos"),
    ):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["x-request-id"]
        assert error(answer) == {
            "message": "this server needs a key: send the header 'Authorization: Bearer KEY'",
            "type": "authentication_error", "param": "", "code": "invalid_api_key",
        }  # fmt: skip


def test_with_a_key_everybody_is(keyed: FlaskClient) -> None:
    assert keyed.get("/v1/models").status_code == 200
    assert keyed.post("/v1/responses", json=ASK).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_needs_none(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in (200, 503)
    assert client.get(path, headers={"Authorization": "Bearer nonsense"}).status_code in (200, 503)


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/nowhere", "/healthz/x", "/admin", "/v1/videos/edits", "/v1//healthz", "/studio", "/studio/a"]
)
def test_strangers_do_not_learn_which_paths_there_are(client: FlaskClient, keyed: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.delete(path).status_code == 401
    assert keyed.get(path).status_code == 404


def test_a_body_of_a_stranger_is_not_looked_at(client: FlaskClient) -> None:
    for data in (b"{", b"x" * 100_000):
        answer = client.post("/v1/responses", data=data, content_type="application/json")
        assert (answer.status_code, error(answer)["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("head", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}", "Bearer {}  "])
def test_a_key_may_be_written_as_http_allows(client: FlaskClient, text: str, head: str) -> None:
    assert client.get("/v1/models", headers={"Authorization": head.format(text)}).status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        "{}", "Basic {}", "Bearer", "Bearer ", "Bearer{}", "Bearer\t{}", "Token {}", "Bearer {} {}", "Bearer {},Bearer {}",
        "Bearer {},", "Bearer x{}", "Bearer {}x", "Bearer none", "Bearer fg-", "Bearer \xe9{}", "Bearer fg-" + "é" * 43,
        "Bearer " + "a" * 60_000, "Bearer fg-" + "a" * 43, "", " ", "Bearer null", "Bearer undefined", "Bearer %s%n",
    ],
)  # fmt: skip
def test_other_headers_open_nothing(client: FlaskClient, text: str, head: str) -> None:
    sent = head.replace("{}", text).encode("utf-8").decode("latin-1")
    answer = client.get("/v1/models", environ_overrides={"HTTP_AUTHORIZATION": sent})

    assert (answer.status_code, error(answer)["code"]) == (401, "invalid_api_key")
    assert text not in answer.text
    assert len(answer.text) < 400


def test_only_the_whole_text_is_the_key(client: FlaskClient, text: str) -> None:
    near = text[:-1] + ("A" if text[-1] != "A" else "B")

    for wrong in (near, text[:11] + new_text()[11:], "fg-" + text[3:].swapcase(), new_text()):
        answer = client.get("/v1/models", headers=bearer(wrong))
        assert (answer.status_code, "known" in error(answer)["message"]) == (401, True)


@pytest.mark.parametrize(
    "query",
    ["?api_key={}", "?key={}", "?access_token={}", "?authorization=Bearer%20{}", "?signature={}&expires=9999999999"],
)
def test_a_key_in_the_address_opens_nothing(client: FlaskClient, text: str, query: str) -> None:
    answer = client.get("/v1/models" + query.format(text))

    assert answer.status_code in (401, 403)
    assert text not in answer.text


@pytest.mark.parametrize("name", ["X-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"])
def test_a_key_in_another_header_opens_nothing(client: FlaskClient, text: str, name: str) -> None:
    assert client.get("/v1/models", headers={name: f"Bearer {text}"}).status_code == 401


def test_a_scope_is_needed_and_named(system: System, app: Flask, text: str) -> None:
    reader, maker = (
        client_of(app, make_key(system, name, scopes=(scope,)))
        for name, scope in (("r", Scope.READ), ("g", Scope.GENERATE))
    )
    until(lambda: reader.get("/v1/models").status_code == 200)
    refused = [
        reader.post("/v1/responses", json=ASK),
        reader.delete(f"/v1/videos/video_{'0' * 32}"),
        maker.get("/v1/models"),
    ]

    assert [answer.status_code for answer in refused] == [403] * 3
    assert [error(answer)["code"] for answer in refused] == ["refused"] * 3
    assert error(refused[0])["message"] == "this needs a key of scope generate, the key sent has read"
    assert error(refused[2])["message"] == "this needs a key of scope read, the key sent has generate"
    assert maker.post("/v1/responses", json=ASK).status_code == 200


def test_a_key_that_expires_says_so_to_whoever_has_it(system: System) -> None:
    text = make_key(system, "team", expires=-1)
    answer = client_of(create_app(system), text).get("/v1/models")

    assert (answer.status_code, error(answer)["message"]) == (401, "this key is expired")


def test_a_revoked_key_opens_nothing_within_a_second(system: System, keyed: FlaskClient) -> None:
    assert keyed.get("/v1/models").status_code == 200
    system.keys.revoke("team")

    until(lambda: keyed.get("/v1/models").status_code == 401)
    assert error(keyed.get("/v1/models"))["message"] == "this key is revoked"
    assert FRESH_SECONDS < 1


def test_when_all_keys_are_revoked_nobody_is_let_in(system: System, client: FlaskClient) -> None:
    system.keys.revoke("team")
    until(lambda: system.keys.all()[0].revoked_at is not None)

    assert client.get("/v1/models").status_code == 401
    assert create_app(system).test_client().get("/v1/models").status_code == 401


def test_the_first_key_closes_a_server_that_runs(system: System) -> None:
    client = create_app(system).test_client()
    assert client.get("/v1/models").status_code == 200
    make_key(system, "first")

    until(lambda: client.get("/v1/models").status_code == 401)


def test_no_auth_lets_everybody_in_whatever_they_send(system: System, text: str) -> None:
    free = create_app(replace(system, settings=replace(system.settings, no_auth=True))).test_client()

    for headers in ({}, bearer(text), bearer("nonsense")):
        assert free.get("/v1/models", headers=headers).status_code == 200


def test_a_request_costs_no_query_for_its_key(system: System, keyed: FlaskClient) -> None:
    statements: list[str] = []

    def listen(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    keyed.get("/v1/nowhere")
    event.listen(Engine, "before_cursor_execute", listen)
    try:
        for _ in range(50):
            keyed.get("/v1/nowhere")
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert len(statements) < 10  # two a second


@pytest.mark.parametrize("level", [logging.DEBUG])
def test_a_key_is_in_no_log_line_and_no_answer(
    system: System, app: Flask, text: str, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    caplog.set_level(level)
    client, keyed = app.test_client(), client_of(app, text)
    revoked = make_key(system, "gone")
    system.keys.revoke("gone")
    strange = new_text()
    answers = [
        keyed.get("/v1/models"), keyed.post("/v1/responses", json=ASK), keyed.post("/v1/responses", data=b"{"), keyed.get("/v1/nowhere"),
        keyed.put("/v1/videos"), client.get(f"/v1/models?key={text}"), client.get("/v1/models", headers={"Authorization": f"Basic {text}"}),
        client.get("/v1/models", headers=bearer(revoked)), client.get("/v1/models", headers=bearer(strange)),
        client.get("/v1/models", headers=bearer(f"{text}, Bearer {text}")),
    ]  # fmt: skip

    for answer in answers:
        for key in (text, revoked, strange):
            assert key not in answer.text + str(answer.headers)
    logged = "\n".join(f"{record.getMessage()} {record.__dict__} {record.exc_text}" for record in caplog.records)
    for key in (text, revoked, strange):
        assert key[11:] not in logged
    assert "by team" in logged


def test_an_unexpected_error_does_not_log_the_key(system: System, text: str, caplog: pytest.LogCaptureFixture) -> None:
    from router import hookimpl

    class Broken:
        @hookimpl
        def check_request(self) -> None:
            raise RuntimeError("a plugin that fails")

    keyed = client_of(create_app(assemble(system.settings, plugins=[Broken()])), text)
    answer = keyed.post("/v1/responses", json=ASK)

    assert answer.status_code == 500
    assert "a plugin that fails" in caplog.text
    assert text not in caplog.text + answer.text


def test_comparing_takes_as_long_for_every_text() -> None:
    import ast
    import inspect

    from router.auth import keys, signed_urls

    for module in (keys, signed_urls):
        names = {
            node.attr for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Attribute)
        }
        assert "compare_digest" in names
