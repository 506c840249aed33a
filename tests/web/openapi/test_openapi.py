"""`/openapi.json` and `/docs` describe every route of the application, and nothing else."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pytest
import schemathesis
from conftest import png
from flask.testing import FlaskClient
from support.contract import Contract, closed
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.system import System
from router.web import create_app
from router.web.app import OPERATIONS
from router.web.openapi.build import build
from router.web.openapi.operations import Example, Operation

EVERYWHERE = {"HEAD", "OPTIONS"}  # Flask answers these wherever there is a GET
NOT_OFFERED = "not_offered"  # paths of OpenAI's that are answered with 404, in words
EXAMPLES = [(route, example) for route in OPERATIONS for example in route.examples]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build(OPERATIONS, "")


@pytest.fixture
def page(client: FlaskClient) -> TestResponse:
    return client.get("/docs")


def everywhere(said: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(said, dict):
        yield said
        said = list(said.values())
    for entry in said if isinstance(said, list) else ():
        yield from everywhere(entry)


def test_the_document_is_served(client: FlaskClient, document: dict[str, Any]) -> None:
    answer = client.get("/openapi.json")

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json() == json.loads(json.dumps(document))


def test_each_route_is_in_the_document_and_nothing_else_is(system: System, document: dict[str, Any]) -> None:
    rules = [rule for rule in create_app(system).url_map.iter_rules() if not rule.endpoint.startswith(NOT_OFFERED)]
    served = {(re.sub("<[^>]+>", "{}", rule.rule), method) for rule in rules for method in rule.methods or ()}
    said = {
        (re.sub("{[^}]+}", "{}", path), method.upper())
        for path, operations in document["paths"].items()
        for method in operations
    }

    assert {(path, method) for path, method in served if method not in EVERYWHERE} <= said
    assert said <= served


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()


def test_what_the_document_refers_to_is_there(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    links = [link["operationId"] for said in everywhere(document) for link in said.get("links", {}).values()]
    for said in everywhere(document):
        if "$ref" in said:
            _, kind, name = said["$ref"].removeprefix("#/").split("/")
            assert name in document["components"][kind], said

    assert len(set(names)) == len(names)
    assert set(links) <= set(names)


def test_everything_has_a_description(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert all(one["description"] for one in operation.get("parameters", ()))
            assert all(answer["description"] for answer in operation["responses"].values())
    for name, schema in document["components"]["schemas"].items():
        for field, said in schema.get("properties", {}).items():
            assert said.get("description") or name.startswith(("Input", "Image", "Reference")), (name, field)


def test_a_body_says_what_the_schemas_check(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    media, create = schemas["MediaOptions"], schemas["CreateResponse"]

    assert media["additionalProperties"] is False
    assert "additionalProperties" not in create
    assert create["required"] == ["input"]
    assert media["properties"]["frames_per_second"] | {"description": ""} == {
        "type": ["integer", "null"], "minimum": 1, "maximum": 60, "description": "",
    }  # fmt: skip
    assert media["properties"]["flow_shift"]["exclusiveMinimum"] == 0
    assert media["properties"]["response_format"]["enum"] == ["url", "b64_json", None]
    assert create["properties"]["metadata"]["maxProperties"] == 16
    assert create["properties"]["metadata"]["propertyNames"]["maxLength"] == 64
    assert schemas["RemixVideo"]["properties"].keys() == {"prompt"}


def test_a_form_is_flat_and_has_files(document: dict[str, Any]) -> None:
    form = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]

    assert form["properties"]["input_reference"]["format"] == "binary"
    assert form["properties"]["provider_options[video][steps]"]["type"] == "integer"
    assert not any(name.startswith("provider_options[image]") for name in form["properties"])
    assert form["required"] == ["prompt"]


@pytest.mark.parametrize(("route", "example"), EXAMPLES, ids=[f"{r.id}, {e.title}" for r, e in EXAMPLES])
def test_each_example_works(
    client: FlaskClient, worker: Worker, document: dict[str, Any], route: Operation, example: Example
) -> None:
    answer = ask(client, route, example, engine=worker.id)

    assert answer.status_code == (206 if "Range" in example.flags else 200), answer.get_data()[:500]
    Contract(closed(document)).hold(route.method, answer.request.path, answer)


def ask(client: FlaskClient, route: Operation, example: Example, engine: str) -> TestResponse:
    """Send an example as curl would, with the ids of a new image."""
    image = client.post("/v1/responses", json={"input": "a", "provider_options": {"image": {}}}).get_json()
    job = image["id"].removeprefix("resp_")
    path = route.path.replace("{model}", "any").replace("{engine_id}", engine).replace(
        "{n}", "1"
    ) + example.query.replace("VIDEO_ID", f"video_{job}")
    for kind, prefix in (("response", "resp"), ("video", "video"), ("image", "image")):
        path = path.replace(f"{{{kind}_id}}", f"{prefix}_{job}")
    sent: dict[str, Any] = {"json": example.body} if example.body else {}
    if example.form:
        sent["data"] = {
            name: (BytesIO(png()), "a.png") if text[0] == "@" else text for name, text in example.form.items()
        }
    if found := re.search("-H '(.+): (.+)'", example.flags):
        sent["headers"] = {found[1]: found[2]}
    return client.open(path, method=route.method, **sent)


def test_a_public_url_is_where_the_server_is(system: System) -> None:
    public = replace(system, settings=replace(system.settings, public_url="https://video.example.org/"))
    document = create_app(public).test_client().get("/openapi.json").get_json()

    assert document["servers"] == [{"url": "https://video.example.org"}]
    assert "curl -sS https://video.example.org/v1/models" in json.dumps(document)
    assert "localhost" not in json.dumps(document)


class Tags(HTMLParser):
    """The tags of a page, with their attributes, and whether each is closed."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(page: TestResponse) -> None:
    tags = Tags(page.text)
    links = {attributes[name] or "" for _, attributes in tags.found for name in ("href", "src") if name in attributes}

    assert (page.status_code, page.mimetype, tags.open) == (200, "text/html", [])
    assert {link for link in links if not link.startswith("#")} == {"/openapi.json", "."}
    assert {tag for tag, _ in tags.found} & {"script", "link", "img", "iframe"} == set()
    assert not any(name == "style" or name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert "@import" not in page.text
    assert "url(" not in page.text


def test_the_page_s_policy_allows_its_style_alone(page: TestResponse) -> None:
    from base64 import b64encode
    from hashlib import sha256

    (style,) = re.findall("<style>(.*?)</style>", page.text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()

    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_page_tells_everything_and_its_links_lead_somewhere(page: TestResponse, document: dict[str, Any]) -> None:
    tags = Tags(page.text)
    places = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    links = {attributes["href"] or "" for _, attributes in tags.found if "href" in attributes} - {"/openapi.json", "."}
    operations = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}

    assert len(set(places)) == len(places)
    assert {link.removeprefix("#") for link in links} <= set(places)
    assert operations | document["components"]["schemas"].keys() <= set(places)
    assert "curl -sS http://localhost:8000/v1/responses" in page.text


def test_the_boot_does_not_pay_for_the_document() -> None:
    code = "import sys, router.web; print('apispec' in sys.modules, 'router.web.openapi.build' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "False False"
