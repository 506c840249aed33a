"""What is served: models and routes, each with its modality, defaults and limits."""

import time
from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify

from registry import Adapter, BrokenModel, ModelSpec, Registry, Route
from registry.source import public
from router.catalog.disk_use import PartOnDisk
from router.catalog.footprints import Footprints
from router.errors import UnknownModel
from router.intake.availability import HERE
from router.intake.expectation import default_task
from router.runtime.server_paths import ServerPaths
from router.system import System
from router.values import EngineState, Expected, ResidentBytes, state_of
from router.web import model_answers as answers
from router.web.access import caller
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Routes, ok

AllExpected = Mapping[str, tuple[Expected, ...]]  # by the name of a model
ROUTES = Routes("Models")
MODELS, MODEL, ROUTE, BROKEN = answers.Models(), answers.Model(), answers.Route(), answers.BrokenModel()
ADAPTER = answers.ModelAdapter()


class Catalog:
    def __init__(self, system: System, paths: ServerPaths) -> None:
        self._system = system
        self._hide = paths.hide
        self._footprints = Footprints(system.plugins, system.weights)
        self._created = int(time.time())

    @ROUTES.add("GET /v1/models", ok("all of them", answers.Models), examples=(Example("all"),))
    def list_models(self) -> Response:
        """List the models and routes."""
        registry, engines, key = self._system.registries.poll(), self._system.engines.alive(), caller().key
        expected = self._expected(registry.models)
        entries = [self._entry(entry, registry, engines, expected) for entry in registry.entries]
        limits = {"queued": self._system.settings.max_queued, "key": key.limits if key else None}
        return jsonify(MODELS.dump({"data": entries, "limits": limits}))

    @ROUTES.add(
        "GET /v1/models/{model}",
        ok("the model or route", {"anyOf": [answers.Model, answers.Route, answers.BrokenModel]}),
        problems=(why.UNKNOWN_MODEL,),
        examples=(Example("one"),),
    )
    def retrieve_model(self, model: str) -> Response:
        """Look at a model or route."""
        registry = self._system.registries.poll()
        entry = registry.find(model)
        if entry is None:
            raise UnknownModel(f"no model is called {model[:128]!r}; GET /v1/models lists them", param="model")
        expected = self._expected((entry,) if isinstance(entry, ModelSpec) else ())
        return jsonify(self._entry(entry, registry, self._system.engines.alive(), expected))

    def _expected(self, models: tuple[ModelSpec, ...]) -> AllExpected:
        tasks = [(model, task) for model in models if (task := default_task(model))]
        return self._system.timings.expected(tasks)

    def _entry(
        self,
        entry: ModelSpec | Route | BrokenModel,
        registry: Registry,
        engines: tuple[EngineState, ...],
        expected: AllExpected,
    ) -> dict[str, Any]:
        listed = {**vars(entry), "created": self._created, "default": entry.name == registry.default}
        if isinstance(entry, Route):
            return ROUTE.dump(listed)
        if isinstance(entry, BrokenModel):
            return BROKEN.dump({**listed, "weights": self._hide(entry.state)})
        devices = {engine.device.rpartition("/")[2] for engine in engines}  # without the host
        footprint = self._footprints.of(entry, sorted(devices))
        limits = {"prompt_tokens": entry.prompt_tokens, "body_bytes": self._system.settings.max_body_bytes}
        listed |= {
            "weights": self._weights(entry, engines),
            "download": entry.download and self._system.weights.is_fetchable(entry),
            "state": state_of(entry.name, engines),
            "engines": [self._on(entry.name, each) for each in engines if entry.name in each.resident + each.warm],
            "limits": {**vars(entry.limits), **limits},
            "parts": [_part(entry, part) for part in footprint.on_disk],
            "planned": [{"device": device, "bytes": size} for device, size in footprint.on_device.items()],
            "adapters": [self._adapter(entry, adapter) for adapter in entry.adapters],
            "expected": [_seconds(each) for each in expected.get(entry.name, ())],
        }
        return MODEL.dump(listed)

    def _weights(self, model: ModelSpec, engines: tuple[EngineState, ...]) -> str:
        """Return where the weights are: here, or with an engine of another machine."""
        state = self._system.weights.state(model)
        is_served = self._system.database.is_shared and any(model.name in engine.models for engine in engines)
        return "here" if is_served and not model.download and state not in HERE else state

    def _adapter(self, model: ModelSpec, adapter: Adapter) -> dict[str, Any]:
        is_default, weights = adapter.name in model.default_adapters, self._system.weights.adapter_state(model, adapter)
        return ADAPTER.dump({**vars(adapter), "default": is_default, "weights": weights})

    def _on(self, name: str, engine: EngineState) -> dict[str, Any]:
        """Return the state of a model on one engine, as `OnEngine`."""
        held = engine.memory.get(name, ResidentBytes(0, 0))
        paths = engine.paths.get(name, {}).items()
        return {
            "device": engine.device,
            "state": state_of(name, (engine,)),
            "bytes_owned": held.owned,
            "bytes_shared": held.shared,
            "paths": [{"part": part, "path": path.path, "reason": self._hide(path.reason)} for part, path in paths],
        }


def _seconds(expected: Expected) -> dict[str, Any]:
    """Return the expected seconds on a kind of device, as `ExpectedSeconds`."""
    job = expected.job
    return {
        "kind": expected.kind,
        "seconds": _rounded(job.seconds.total if job else None),
        "basis": job.basis if job else None,
        "load_cold": _rounded(expected.load_cold),
        "load_warm": _rounded(expected.load_warm),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _part(model: ModelSpec, on_disk: PartOnDisk) -> dict[str, Any]:
    """Return a part of a model on disk, as `OnDisk`."""
    file = model.parts.get(on_disk.part)
    source = None if file is None else "/".join(filter(None, (public(file.source), file.file)))
    revision = None if file is None else file.revision
    return {
        "part": on_disk.part,
        "source": source,
        "revision": revision,
        "formats": on_disk.formats,
        "bytes": on_disk.size,
    }
