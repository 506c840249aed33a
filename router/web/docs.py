"""The API's document, for programs and for people."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, jsonify, render_template

from router.system import System


class Docs:
    """`/openapi.json` and `/docs`; both are made when somebody first asks, as that takes a tenth of a second."""

    def __init__(self, system: System) -> None:
        self._public_url = system.settings.public_url

    def blueprint(self) -> Blueprint:
        routes = Blueprint("docs", __name__, template_folder="templates")
        routes.add_url_rule("/openapi.json", view_func=self.openapi)
        routes.add_url_rule("/docs", view_func=self.page)
        return routes

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

        return build(self._public_url)

    @cached_property
    def _page(self) -> tuple[str, str]:
        from router.web.openapi.html import fields_of, kind_of, prose, resolved, sent

        style = files(__package__).joinpath("templates", "docs.css").read_text()
        read = {"fields_of": fields_of, "kind_of": kind_of, "prose": prose, "resolved": resolved}
        text = render_template("docs.html", api=self._document, sent=sent(self._document), style=style, **read)
        return text, style
