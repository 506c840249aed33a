"""Keys for tests, and clients that send them."""

import time
from dataclasses import replace
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from router.auth.keys import KeyLimits, Scope, new_key, new_text
from router.system import System

USUAL = (Scope.GENERATE, Scope.READ)


def make_key(
    system: System,
    name: str,
    owner: str = "",
    scopes: tuple[Scope, ...] = USUAL,
    expires: float | None = None,
    **limits: Any,
) -> str:
    """Keep a new key and return its text; `expires` is in seconds from now."""
    text = new_text()
    key = replace(
        new_key(text, name, owner or name, scopes),
        limits=KeyLimits(**limits),
        expires_at=None if expires is None else time.time() + expires,
    )
    assert system.keys.add(key) is not None
    return text


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def client_of(app: Flask, text: str) -> FlaskClient:
    """Return a client that sends a key with every request."""

    class Keyed(FlaskClient):
        def open(self, *arguments: Any, **more: Any) -> Any:
            return super().open(*arguments, **{**more, "headers": {**bearer(text), **more.get("headers", {})}})

    return Keyed(app, app.response_class)
