"""The API's document, for programs and for people."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

from flask import Response, jsonify, render_template

from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Operation, Reply, Routes, ok

ROUTES = Routes("Server")


class Docs:
    """`/openapi.json` and `/docs`, both made at the first request."""

    def __init__(self, public_url: str, operations: tuple[Operation, ...]) -> None:
        self._public_url = public_url
        self._operations = operations

    @ROUTES.add(
        "GET /openapi.json",
        "openapi",
        ok("OpenAPI 3.1", {"type": "object"}),
        problems=(why.OTHER_HOST,),
        examples=(Example("save it", flags="-o openapi.json"),),
        open=True,
    )
    def openapi(self) -> Response:
        """Fetch this document."""
        return jsonify(self._document)

    @ROUTES.add(
        "GET /docs",
        "docs",
        {200: Reply("a page", {"text/html": {"type": "string"}})},
        problems=(why.OTHER_HOST,),
        open=True,
    )
    def page(self) -> Response:
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
        from router.web.openapi.html import fields_of, kind_of, prose, resolved, sent

        style = files(__package__).joinpath("templates", "docs.css").read_text()
        read = {"fields_of": fields_of, "kind_of": kind_of, "prose": prose, "resolved": resolved}
        text = render_template("docs.html", api=self._document, sent=sent(self._document), style=style, **read)
        return text, style
