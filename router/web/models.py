"""What is served: models and routes, each with its modality, defaults and limits."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from registry import BrokenModel, ModelSpec, Registry, Route
from registry.source import public
from router.errors import UnknownModel
from router.runtime.server_paths import ServerPaths
from router.system import System
from router.values import EngineState, ResidentBytes, state_of
from router.web.access import caller


class Catalog:
    """`/v1/models`, and one of them by name or alias."""

    def __init__(self, system: System, paths: ServerPaths) -> None:
        self._system = system
        self._hide = paths.hide
        self._created = int(time.time())

    def blueprint(self) -> Blueprint:
        routes = Blueprint("catalog", __name__)
        routes.add_url_rule("/v1/models", view_func=self.list)
        routes.add_url_rule("/v1/models/<path:name>", view_func=self.show)
        return routes

    def list(self) -> Response:
        registry, engines = self._system.registries.poll(), self._engines()
        entries = [self._entry(entry, registry, engines) for entry in registry.entries]
        return jsonify(object="list", data=entries, limits=self._limits())

    def show(self, name: str) -> Response:
        registry = self._system.registries.poll()
        entry = registry.find(name)
        if entry is None:
            raise UnknownModel(f"no model is called {name[:128]!r}; GET /v1/models lists them", param="model")
        return jsonify(self._entry(entry, registry, self._engines()))

    def _limits(self) -> dict[str, Any]:
        """Return the limits that are no model's: the queue's, and those of the key that asks."""
        key = caller().key
        return {"queued": self._system.settings.max_queued, "key": asdict(key.limits) if key else None}

    def _engines(self) -> tuple[EngineState, ...]:
        return self._system.engines.alive()

    def _entry(
        self, entry: ModelSpec | Route | BrokenModel, registry: Registry, engines: tuple[EngineState, ...]
    ) -> dict[str, Any]:
        common = {
            "id": entry.name,
            "object": "model",
            "created": self._created,
            "owned_by": "framegate",
            "aliases": list(entry.aliases),
            "default": entry.name == registry.default,
        }
        if isinstance(entry, Route):
            return {**common, "members": list(entry.members)}
        if isinstance(entry, BrokenModel):
            return {**common, **_broken(entry, self._hide(entry.state))}
        return {
            **common,
            "modality": entry.modality.word,
            "backend": entry.backend,
            "source": public(entry.source),
            "revision": entry.revision,
            "weights": self._system.weights.state(entry),
            "state": state_of(entry.name, engines),
            "engines": [
                self._on(entry.name, engine) for engine in engines if entry.name in engine.resident + engine.warm
            ],
            "size_multiple": entry.size_multiple,
            "experts": entry.experts,
            "defaults": asdict(entry.defaults),
            "limits": {
                **asdict(entry.limits),
                "prompt_tokens": entry.prompt_tokens,
                "body_bytes": self._system.settings.max_body_bytes,
            },
        }

    def _on(self, name: str, engine: EngineState) -> dict[str, Any]:
        """Return where a model is, the bytes of weights that it holds there, and by which code its parts run."""
        held = engine.memory.get(name, ResidentBytes(0, 0))
        paths = engine.paths.get(name, {}).items()
        return {
            "device": engine.device,
            "state": state_of(name, (engine,)),
            "bytes_owned": held.owned,
            "bytes_shared": held.shared,
            "paths": [{"part": part, "path": path.path, "reason": self._hide(path.reason)} for part, path in paths],
        }


def _broken(model: BrokenModel, state: str) -> dict[str, Any]:
    return {
        "modality": model.modality.word if model.modality else None,
        "backend": model.backend,
        "source": public(model.source),
        "revision": model.revision,
        "weights": state,
        "state": "cold",
        "engines": [],
    }
