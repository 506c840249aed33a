"""What is served: models and routes, each with its modality, defaults and limits."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from registry import ModelSpec, Route
from registry.source import is_hub_id
from router.errors import UnknownModel
from router.system import System


class Catalog:
    """`/v1/models`, and one of them by name or alias."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._created = int(time.time())

    def blueprint(self) -> Blueprint:
        routes = Blueprint("catalog", __name__)
        routes.add_url_rule("/v1/models", view_func=self.list)
        routes.add_url_rule("/v1/models/<path:name>", view_func=self.show)
        return routes

    def list(self) -> Response:
        resident = self._resident()
        return jsonify(object="list", data=[self._entry(entry, resident) for entry in self._system.registry.entries])

    def show(self, name: str) -> Response:
        entry = self._system.registry.find(name)
        if entry is None:
            raise UnknownModel(f"no model is called {name[:128]!r}; GET /v1/models lists them", param="model")
        return jsonify(self._entry(entry, self._resident()))

    def _resident(self) -> frozenset[str]:
        return frozenset(model for engine in self._system.engines.alive() for model in engine.resident)

    def _entry(self, entry: ModelSpec | Route, resident: frozenset[str]) -> dict[str, Any]:
        common = {
            "id": entry.name,
            "object": "model",
            "created": self._created,
            "owned_by": "framegate",
            "aliases": list(entry.aliases),
            "default": entry.name == self._system.registry.default,
        }
        if isinstance(entry, Route):
            return {**common, "members": list(entry.members)}
        return {
            **common,
            "modality": entry.modality.word,
            "backend": entry.backend,
            "source": _public_source(entry),
            "revision": entry.revision,
            "weights": self._system.weights.state(entry),
            "state": "loaded" if entry.name in resident else "cold",
            "size_multiple": entry.size_multiple,
            "experts": entry.experts,
            "defaults": asdict(entry.defaults),
            "limits": asdict(entry.limits),
        }


def _public_source(model: ModelSpec) -> str | None:
    """Return a hub id as it is, of a folder only its name: where it lies is the operator's business."""
    return model.source if model.source is None or is_hub_id(model.source) else model.source.rpartition("/")[2]
