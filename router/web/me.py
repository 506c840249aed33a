"""The caller behind a key."""

from flask import Response, jsonify

from router.web.access import caller
from router.web.openapi.operations import Routes, ok

ROUTES = Routes("Server")


class Me:
    @ROUTES.add("GET /v1/me", ok("the caller", {"type": "object"}))
    def get_me(self) -> Response:
        """Ask who the key belongs to."""
        by = caller()
        key = {"id": by.key.id, "name": by.key.name, "scopes": sorted(by.key.scopes)} if by.key else None
        return jsonify({"object": "caller", "owner": by.owner, "key": key, "admin": by.key is None or by.sees is None})
