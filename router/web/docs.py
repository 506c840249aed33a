"""The API's document, for programs and for people."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

from flask import Response, jsonify, render_template

from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Operation, Reply, ok


class Docs:
    """`/openapi.json` and `/docs`; both are made when somebody first asks, as that takes a tenth of a second."""

    def __init__(self, public_url: str, operations: tuple[Operation, ...]) -> None:
        self._public_url = public_url
        self._operations = operations

    def openapi(self) -> Response:
        return jsonify(self._document)

    def page(self) -> Response:
        """Return a page that needs nothing but itself: no script, and a style that its own policy names."""
        text, style = self._page
        digest = b64encode(sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
        return Response(text, mimetype="text/html", headers={"content-security-policy": policy})

    @cached_property
    def _document(self) -> dict[str, Any]:
        from router.web.openapi.build import build

        return build(self._operations, self._public_url)

    @cached_property
    def _page(self) -> tuple[str, str]:
        from router.web.openapi.html import fields_of, kind_of, prose, resolved, sent

        style = files(__package__).joinpath("templates", "docs.css").read_text()
        read = {"fields_of": fields_of, "kind_of": kind_of, "prose": prose, "resolved": resolved}
        text = render_template("docs.html", api=self._document, sent=sent(self._document), style=style, **read)
        return text, style


OPERATIONS = (
    Operation(
        "GET",
        "/openapi.json",
        Docs.openapi,
        "openapi",
        "Server",
        "Fetch this document",
        ok("OpenAPI 3.1", {"type": "object"}),
        problems=(why.OTHER_HOST,),
        examples=(Example("save it", flags="-o openapi.json"),),
        open=True,
    ),
    Operation(
        "GET",
        "/docs",
        Docs.page,
        "docs",
        "Server",
        "Read this document",
        {200: Reply("a page", {"text/html": {"type": "string"}})},
        problems=(why.OTHER_HOST,),
        open=True,
    ),
)
