"""An app with one key, and a client that sends the key."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.callers import client_of, make_key

from router.system import System
from router.web import create_app


@pytest.fixture
def text(system: System) -> str:
    return make_key(system, "team")


@pytest.fixture
def app(system: System, text: str) -> Flask:
    return create_app(system)


@pytest.fixture
def keyed(app: Flask, text: str) -> FlaskClient:
    return client_of(app, text)
