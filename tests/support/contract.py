"""Checks answers against the API's document: status, media type, headers, body, error code."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from werkzeug.test import TestResponse

from support.sse import parse

JSON, EVENTS = "application/json", "text/event-stream"
ERROR = {"$ref": "#/components/schemas/ErrorAnswer"}
EVENT = {"$ref": "#/components/schemas/Event"}


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its answers' objects closed to other keys."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for name in _answered(copy):
        schema = copy["components"]["schemas"][name]
        if "properties" in schema:
            schema["additionalProperties"] = False
    return copy


def _answered(document: dict[str, Any]) -> set[str]:
    schemas = document["components"]["schemas"]
    sent, unread = set[str](), [op.get("requestBody") for ops in document["paths"].values() for op in ops.values()]
    for documented in unread:
        for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(documented)):
            if name not in sent:
                sent.add(name)
                unread.append(schemas[name])
    return set(schemas) - sent


@dataclass(frozen=True)
class Contract:
    """The document, ready to judge."""

    document: dict[str, Any]

    def hold(self, method: str, path: str, answer: TestResponse) -> None:
        """Raise `AssertionError` if an answer breaks the document; `path` is decoded."""
        assert answer.headers.get("x-request-id"), "no x-request-id"
        if method == "OPTIONS" and answer.status_code == 200:
            assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]
            return
        responses = self._responses(method, path)
        documented = responses.get(str(answer.status_code))
        assert documented is not None, f"{answer.status_code} is not documented: {answer.get_data()[:500]!r}"
        for name in set(self.document["components"]["headers"]) & {name.lower() for name, _ in answer.headers}:
            assert name in documented["headers"], f"the header {name} is not documented"
        if method == "HEAD" or answer.status_code == 304:
            assert answer.get_data() == b""
        else:
            self._hold_body(answer, documented)

    def _responses(self, method: str, path: str) -> Mapping[str, Any]:
        paths = self.document["paths"].items()
        for template, operations in sorted(paths, key=lambda one: "{" in one[0]):  # a whole path goes before a pattern
            pattern = re.escape(template).replace(r"\{model\}", ".+")
            if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern) + "/?", path, re.DOTALL):
                known = operations.get(method.lower()) or (operations.get("get") if method == "HEAD" else None)
                return known["responses"] if known else UNKNOWN
        return UNKNOWN

    def _hold_body(self, answer: TestResponse, documented: Mapping[str, Any]) -> None:
        contents = documented.get("content", {})
        assert answer.mimetype in contents, f"{answer.mimetype} is not documented"
        if answer.mimetype == JSON:
            body = json.loads(answer.get_data())
            self.fits(body, contents[JSON]["schema"])
            if "x-codes" in documented:
                assert body["error"]["code"] in documented["x-codes"], body
        elif answer.mimetype == EVENTS:
            for event in parse(answer.get_data()):
                self.fits(event, EVENT)

    def fits(self, body: Any, schema: Mapping[str, Any]) -> None:
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": self.document["components"]})
        for error in validator.iter_errors(body):
            raise AssertionError(f"{error.message} at {error.instance_path} of {json.dumps(body)[:2000]}")


def _error(status: int, code: str) -> dict[str, Any]:
    return {str(status): {"headers": {"x-request-id": {}}, "content": {JSON: {"schema": ERROR}}, "x-codes": {code: ""}}}


UNKNOWN = (
    _error(403, "refused") | _error(404, "not_found") | _error(405, "method_not_allowed")
)  # a path or method that is no route
