"""Clients of an admin and of a team on a server with keys."""

from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.callers import client_of, make_key

from router.auth.keys import Scope
from router.system import System
from router.web import create_app


@dataclass(frozen=True)
class Callers:
    app: Flask
    boss: FlaskClient
    team: FlaskClient


@pytest.fixture
def callers(system: System) -> Callers:
    boss, team = make_key(system, "boss", scopes=(Scope.ADMIN,)), make_key(system, "team", "reds")
    app = create_app(system)
    return Callers(app, client_of(app, boss), client_of(app, team))


@pytest.fixture
def boss(callers: Callers) -> FlaskClient:
    return callers.boss


@pytest.fixture
def team(callers: Callers) -> FlaskClient:
    return callers.team
