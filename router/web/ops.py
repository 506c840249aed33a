"""Is this process alive, and can a device take work?"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from router.system import System
from router.values import EngineState


class Ops:
    """`/healthz` touches nothing; `/readyz` reads the engines' heartbeats."""

    def __init__(self, system: System) -> None:
        self._system = system

    def blueprint(self) -> Blueprint:
        routes = Blueprint("ops", __name__)
        routes.add_url_rule("/healthz", view_func=self.health)
        routes.add_url_rule("/readyz", view_func=self.ready)
        return routes

    def health(self) -> Response:
        return jsonify(status="ok")

    def ready(self) -> Response:
        engines = [_shown(engine) for engine in self._system.engines.alive()]
        response = jsonify(status="ready" if engines else "no engine", engines=engines)
        response.status_code = 200 if engines else 503
        return response


def _shown(engine: EngineState) -> dict[str, object]:
    busy = engine.job is not None
    return {"id": engine.id, "device": engine.device, "pid": engine.pid, "resident": engine.resident, "busy": busy}
