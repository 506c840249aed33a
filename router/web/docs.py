"""The API's document, for programs and for people."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

from flask import Response, jsonify, render_template
from markupsafe import Markup, escape

from router.web.http.fields import without_null
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Operation, Reply, Routes, ok
from router.web.schemas import MOST

ROUTES = Routes("Server")
Schema = Mapping[str, Any]
OR = Markup(" or ")
STYLES = (("studio", "page", "look.css"), ("templates", "docs.css"))


class Docs:
    """`/openapi.json` and `/docs`, both made at the first request."""

    def __init__(self, public_url: str, operations: tuple[Operation, ...]) -> None:
        self._public_url = public_url
        self._operations = operations

    @ROUTES.add(
        "GET /openapi.json",
        ok("OpenAPI 3.1", {"type": "object"}),
        problems=(why.OTHER_HOST,),
        examples=(Example("save it", flags="-o openapi.json"),),
        open=True,
    )
    def openapi(self) -> Response:
        """Fetch this document."""
        return jsonify(self._document)

    @ROUTES.add(
        "GET /docs", {200: Reply("a page", {"text/html": {"type": "string"}})}, problems=(why.OTHER_HOST,), open=True
    )
    def docs(self) -> Response:
        """Read this document."""
        # The page needs nothing but itself: no script, and a style that its own policy names.
        text, style = self._page
        digest = b64encode(sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
        return Response(text, mimetype="text/html", headers={"content-security-policy": policy})

    @cached_property  # lazily: it takes a tenth of a second
    def _document(self) -> dict[str, Any]:
        from router.web.openapi.build import build

        return build(self._operations, self._public_url)

    @cached_property
    def _page(self) -> tuple[str, str]:
        style = "".join(files(__package__).joinpath(*path).read_text() for path in STYLES)
        read = {function.__name__: function for function in (fields_of, kind_of, prose, resolved, without_null)}
        text = render_template("docs.html", api=self._document, sent=sent(self._document), style=style, **read)
        return text, style


def prose(text: str) -> Markup:
    """Return text with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def fields_of(schema: Schema) -> list[tuple[str, Schema, bool]]:
    """Return the name, the schema and the presence of each field; required ones first."""
    needed = schema.get("required", ())
    fields = [(name, field, name in needed) for name, field in schema.get("properties", {}).items()]
    return sorted(fields, key=lambda field: not field[2])


def resolved(document: Schema, schema: Schema) -> Schema:
    """Return the component that a schema refers to, or the schema itself."""
    if "$ref" not in schema:
        return schema
    component: Schema = document["components"]["schemas"][_named(schema)]
    return component


def sent(document: Schema) -> list[str]:
    """Return the names of the components of requests, whole bodies first."""
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    unread: list[Any] = [operation.get("requestBody") for operation in operations]
    found: list[str] = []
    for node in unread:
        for name in _names(node):
            if name not in found:
                found.append(name)
                unread.append(document["components"]["schemas"][name])
    return found


def kind_of(schema: Schema) -> Markup:
    """Return the type of a schema in words, with links."""
    if "$ref" in schema:
        name = _named(schema)
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if "x-each" in schema:
        return Markup("each {}").format(kind_of(schema["x-each"]))
    if "anyOf" in schema:
        return OR.join(kind_of(option) for option in schema["anyOf"])
    if "enum" in schema:
        return OR.join(Markup("<code>{}</code>").format("null" if word is None else word) for word in schema["enum"])
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ())
    return OR.join(_plain(kind, schema) for kind in kinds) or Markup("anything")


def _named(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _names(node: Any) -> Iterator[str]:
    """Yield the names of the components that something in the document refers to."""
    if isinstance(node, Mapping):
        if "$ref" in node:
            yield _named(node)
        node = list(node.values())
    for entry in node if isinstance(node, list) else ():
        yield from _names(entry)


def _plain(kind: str, schema: Schema) -> Markup:
    if kind == "array":
        return Markup("list of {}").format(kind_of(schema["items"])) if schema.get("items") else Markup("list")
    if kind == "string" and schema.get("format") == "binary":
        return Markup("file")
    return escape(kind + _bounds(kind, schema))


def _bounds(kind: str, schema: Schema) -> str:
    if kind not in ("integer", "number"):
        return ""
    least = f"above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else _number(schema.get("minimum"))
    most = _number(schema.get("maximum")) if schema.get("maximum", 0) < MOST else ""
    if least and most:
        return f", {least} to {most}"
    return f", from {least}" if least else f", up to {most}" if most else ""


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"
