"""Is this process alive, and can a device take work?"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from router.errors import reason
from router.system import System
from router.values import EngineState


class Ops:
    """`/healthz` touches nothing; `/readyz` looks at the disk, the store and the engines' heartbeats."""

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
        """Say whether a new job would be taken and done, and if not, why."""
        engines, status, why = self._engines()
        if shortage := self._system.disk.shortage():
            status, why = "disk full", shortage
        elif problem := self._system.probe.problem():
            status, why = "store unavailable", f"the store cannot be written: {problem}"
        response = jsonify(status=status, **({"reason": why} if why else {}), engines=engines)
        response.status_code = 200 if status == "ready" else 503
        return response

    def _engines(self) -> tuple[list[dict[str, object]], str, str]:
        """Return the engines that are alive, and what is to be said if nothing else is wrong."""
        try:
            engines = [_shown(engine) for engine in self._system.engines.alive()]
        except SQLAlchemyError as error:
            return [], "store unavailable", f"the store cannot be read: {reason(error)}"
        return engines, "ready" if engines else "no engine", "" if engines else "no engine gives signs of life"


def _shown(engine: EngineState) -> dict[str, object]:
    busy = engine.job is not None
    return {"id": engine.id, "device": engine.device, "pid": engine.pid, "resident": engine.resident, "busy": busy}
