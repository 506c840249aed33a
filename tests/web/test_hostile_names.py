"""Hostile ids, names and cursors name nothing at any route, and set no header."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import data_url, png, with_image
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.system import System
from router.web import create_app

JOB = "0123456789abcdef" * 2
SECRET = "what-lies-beside-the-data"
# What stands for an id, as it is on the wire.
PATHS = {
    "up": "../../secret",
    "up, encoded": "%2e%2e%2f%2e%2e%2fsecret",
    "up, encoded twice": "%252e%252e%252f%252e%252e%252fsecret",
    "up, in overlong UTF-8": "%c0%ae%c0%ae%c0%af%c0%ae%c0%ae%c0%afsecret",
    "up, in backslashes": "..%5c..%5csecret",
    "up, with a NUL": "%2e%2e%2fsecret%00.mp4",
    "up, in full width": quote("．．／．．／secret"),
    "from the root": "%2fetc%2fpasswd",
    "behind an id": f"{{}}{JOB}%2f..%2f..%2fsecret",
    "behind an id, encoded twice": f"{{}}{JOB}%252f..%252fsecret",
    "behind an id, a NUL": f"{{}}{JOB}%00",
    "behind an id, a line": f"{{}}{JOB}%0a",
    "behind an id, a header": f"{{}}{JOB}%0d%0ax-evil:%201",
    "behind an id, a semicolon": f"{{}}{JOB};/../secret",
    "an id of dots": "{}" + "." * 32,
    "an id of slashes": "{}" + "%2f" * 32,
    "an id in capitals": f"{{}}{JOB.upper()}",
    "an id in other digits": "{}" + quote("٣" * 32),
    "a long id": "{}" + "a" * 6000,
    "no id": "{}%20",
    "a query in it": f"{{}}{JOB}%3fvariant=video",
    "SQL": "{}" + quote("' OR 1=1 --"),
    "a format": quote("{0.__class__}%s%n"),
}
# The same where it is a value: in a query, a body or a form.
NAMES = (
    "../../secret",
    "%2e%2e%2f%2e%2e%2fsecret",
    "..\\..\\secret",
    "/etc/passwd",
    "file:///etc/passwd",
    "secret\x00.mp4",
    "a\r\nx-evil: 1",
    "a\nx-evil: 1",
    f"video_{JOB}/../../secret",
    f"resp_{JOB}\x00",
    f"msg_in_{JOB}/..",
    "．．／secret",
    "' OR 1=1 --",
    "{0.__class__}",
    "a" * 6000,
    "",
)
PREFIXES = {"responses": "resp_", "videos": "video_", "images": "image_", "models": ""}


@pytest.fixture
def app(system: System) -> Flask:
    return create_app(system)


@pytest.fixture(autouse=True)
def secret(tmp_path: Path, system: System) -> Iterator[Path]:
    """Write a file wherever a path might lead; check later for changes."""
    places = (tmp_path / "secret", system.settings.data / "secret", system.settings.data / "videos" / "secret")
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SECRET)
    yield tmp_path
    assert [place.read_text() for place in places] == [SECRET] * 3
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


def rules(app: Flask) -> list[tuple[str, str]]:
    """Return the methods and paths of all routes with a name, as `{}`."""
    return [
        (method, re.sub("<[^>]+>", "{}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in sorted(rule.methods or ())
        if rule.arguments
    ]


def reveals_nothing(answer: TestResponse) -> bool:
    """Return whether an answer has neither the caller's header nor a secret."""
    whole = answer.get_data() + str(answer.headers).encode()
    return not answer.headers.get("x-evil") and SECRET.encode() not in whole and b"root:" not in whole


@pytest.mark.parametrize("name", PATHS.values(), ids=PATHS.keys())
def test_a_path_leads_to_no_file_at_any_route(app: Flask, name: str) -> None:
    client = app.test_client()
    tried = rules(app)
    for method, path in tried:
        prefix = PREFIXES.get(path.split("/")[2], "")
        answer = client.open(path.replace("{}", name.replace("{}", prefix)), method=method, json={"prompt": "a"})

        assert answer.status_code in ((200, 404) if method == "OPTIONS" else (404, 405, 308)), (
            method,
            path,
            answer.get_data()[:300],
        )
        assert reveals_nothing(answer), (method, path)
    assert len({path for _, path in tried}) >= 11


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_a_query_leads_nowhere(client: FlaskClient, worker: Worker, name: str) -> None:
    made = client.post("/v1/responses", json={"model": "text", "input": "a"}).get_json()
    job = made["id"].removeprefix("resp_")
    queries = {
        "/v1/videos": ("after", "limit", "order"),
        f"/v1/responses/resp_{job}/input_items": ("after", "limit", "order", "include"),
        f"/v1/responses/resp_{job}": ("stream", "starting_after"),
        f"/v1/videos/video_{job}/content": ("variant", "expires", "signature"),
        "/v1/models": ("after",),
    }
    for path, keys in queries.items():
        for key in keys:
            answer = client.get(path, query_string={key: name})
            assert answer.status_code in (200, 400, 404), (path, key)
            assert reveals_nothing(answer), (path, key)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_body_leads_nowhere(client: FlaskClient, system: System, name: str) -> None:
    bodies: tuple[dict[str, Any], ...] = (
        {"model": name, "input": "a"},
        {"model": "text", "input": "a", "previous_response_id": name},
        {"model": "text", "input": "a", "metadata": {"name": name[:500]}},
        {"model": "text", "input": "a", "user": name, "safety_identifier": name, "prompt_cache_key": name},
        {"model": "image", "input": with_image("a", name)},
        {"model": "image", "input": [{"role": "user", "content": [{"type": "input_image", "file_id": name}]}]},
        {
            "model": "ends",
            "input": with_image("a", data_url(png())),
            "provider_options": {"video": {"last_image": name}},
        },
    )
    for body in bodies:
        answer = client.post("/v1/responses", json={**body, "background": True}, headers={"user-agent": "a"})
        assert answer.status_code in (200, 400, 404, 422), answer.get_data()[:300]
        assert reveals_nothing(answer), body
    assert all(path.parent.name != "secret" for path in (system.settings.data / "inputs").rglob("*"))


@pytest.mark.parametrize("name", [name for name in NAMES if not set(name) & set("\r\n\x00")])
def test_the_name_of_a_file_is_never_used(client: FlaskClient, system: System, name: str) -> None:
    form = {"model": "image", "prompt": "a", "input_reference": (io.BytesIO(png()), name or "a", "text/html")}
    answer = client.post("/v1/videos", data=form)
    stored = [path for path in (system.settings.data / "inputs").rglob("*") if path.is_file()]

    assert answer.status_code == 200, answer.get_data()
    assert reveals_nothing(answer)
    assert [path.read_bytes() for path in stored] == [png()]
    assert stored[0].relative_to(system.settings.data / "inputs").as_posix() == f"{answer.get_json()['id'][6:]}/0"


@pytest.mark.parametrize(
    "name", [b'a.png"\r\nx-evil: 1\r\nx: "', b'a"; name="model', b"a\x00.png", b"a\rb", b"\xff\xfe"]
)
def test_a_file_name_that_breaks_its_header_puts_none_into_the_answer(client: FlaskClient, name: bytes) -> None:
    head = b'--b\r\ncontent-disposition: form-data; name="%s"'
    data = b"".join(
        [
            head % b"model" + b"\r\n\r\nimage\r\n",
            head % b"prompt" + b"\r\n\r\na\r\n",
            head % b"input_reference" + b'; filename="' + name + b'"\r\ncontent-type: image/png\r\n\r\n' + png(),
            b"\r\n--b--\r\n",
        ]
    )
    answer = client.post("/v1/videos", data=data, content_type="multipart/form-data; boundary=b")

    assert answer.status_code in (200, 400), answer.get_data()
    assert reveals_nothing(answer)


@pytest.mark.parametrize(
    "prompt", ["a\r\nx-evil: 1\r\n\r\n<script>", "a\nset-cookie: owned=1", "é\u2028x-evil: 1", '";\r\nx-evil: 1']
)
def test_a_prompt_puts_no_header_into_any_answer(client: FlaskClient, worker: Worker, prompt: str) -> None:
    made = client.post("/v1/responses", json={"model": "text", "input": prompt, "metadata": {"a": prompt}})
    job = made.get_json()["id"].removeprefix("resp_")
    paths = (
        f"/v1/responses/resp_{job}",
        f"/v1/responses/resp_{job}?stream=true",
        f"/v1/responses/resp_{job}/input_items",
        f"/v1/videos/video_{job}",
        f"/v1/videos/video_{job}/content",
        f"/v1/videos/video_{job}/content?variant=thumbnail",
        "/v1/videos",
    )
    for answer in (made, *(client.get(path) for path in paths)):
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not {"x-evil", "set-cookie"} & {name.lower() for name, _ in answer.headers}
        assert not any("\r" in value or "\n" in value for _, value in answer.headers)
    content = client.get(f"/v1/videos/video_{job}/content")
    assert content.headers["content-disposition"] == f"inline; filename=video_{job}.mp4"
    assert b"evil" not in content.data


def test_a_prompt_and_a_user_agent_are_in_no_log_line(
    client: FlaskClient, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    forged = "a\n2026-01-01 INFO forged"
    client.post(
        "/v1/responses", json={"model": "text", "input": forged}, headers={"user-agent": "forged", "referer": "forged"}
    )
    client.get("/v1/videos/forged%0aforged")

    assert [
        record.getMessage()
        for record in caplog.records
        if "forged" in record.getMessage() and "\n" in record.getMessage()
    ] == []
    assert [
        record for record in caplog.records if "forged" in record.getMessage() and "%0A" not in record.getMessage()
    ] == []
