"""`/admin/engines`: the engines of the last hour, and which of them drain."""

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify

from router.errors import UnknownJob
from router.system import System
from router.values import EngineState, ResidentBytes
from router.web.access import require_admin
from router.web.answer_fields import (
    Answer,
    boolean,
    constant,
    enum,
    integer,
    mapping,
    nested,
    number,
    one_of,
    string,
    strings,
)
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Routes, ok

ROUTES = Routes("Admin")


class EngineMemory(Answer):
    """Bytes in use, null where they are unknown."""

    resident_bytes = integer("of its process, on the host", lambda use: use.resident, none=True)
    device_bytes = integer("of all processes, on its device", lambda use: use.device, none=True)


class LoadedModel(Answer):
    """A model that an engine has in memory."""

    model = string("its name")
    state = enum("on the device, or on the host to come back fast", "loaded", "warm")
    bytes_owned = integer("of weights that no other model has")
    bytes_shared = integer("of weights that other loaded models have too")


class EngineEntry(Answer):
    """A process that owns a device."""

    id = string("its id; an engine that starts anew has another one")
    device = string("its device", examples=["cuda:0"])
    kind = string("the kind of its device", examples=["NVIDIA H200", "cpu"])
    pid = integer("its process")
    age_seconds = number("since its last sign of life")
    alive = boolean("whether that is recent enough")
    draining = boolean("whether it claims no more jobs")
    job = string("the video of its running job, null without one", none=True)
    job_model = string("the model of that job", none=True)
    models = strings("the models whose jobs it claims")
    memory = nested(EngineMemory, "the bytes in use", lambda engine: engine["use"])
    loaded = one_of("the models that it has in memory", LoadedModel)
    lacks = mapping("by model: what it needs to run a model that it cannot run")
    too_large = mapping("by model: why it can never load it")


class Engines(Answer):
    object = constant("its kind", "list")
    data = one_of("the engines, living ones first", EngineEntry)


ENGINES, ENGINE, LOADED = Engines(), EngineEntry(), LoadedModel()


class EngineViews:
    def __init__(self, system: System) -> None:
        self._system = system

    @ROUTES.add("GET /admin/engines", ok("the engines", Engines), examples=(Example("all"),))
    def list_engines(self) -> Response:
        """List the engines.

        Those that were seen within an hour, lost ones too.
        """
        require_admin()
        found = self._system.engines.seen()
        alive = {engine.id for engine in self._system.engines.alive(found)}
        seen = sorted(found, key=lambda each: (each.id not in alive, each.device, each.age))
        return jsonify(ENGINES.dump({"data": [self._entry(engine, alive) for engine in seen]}))

    @ROUTES.add(
        "POST /admin/engines/{engine_id}/drain",
        ok("the engine", EngineEntry),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("drain"),),
    )
    def drain_engine(self, engine_id: str) -> Response:
        """Let an engine end its job and claim no more.

        Until it is told otherwise, or ends: an engine that starts anew claims jobs. What it has loaded stays loaded.
        """
        return self._drain(engine_id, draining=True)

    @ROUTES.add(
        "DELETE /admin/engines/{engine_id}/drain",
        ok("the engine", EngineEntry),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("resume"),),
    )
    def resume_engine(self, engine_id: str) -> Response:
        """Let an engine claim jobs again."""
        return self._drain(engine_id, draining=False)

    def _drain(self, engine_id: str, *, draining: bool) -> Response:
        require_admin()
        engine = self._system.engines.drain(engine_id, draining)
        if engine is None:
            raise UnknownJob(f"no engine is called {engine_id[:100]!r}; GET /admin/engines lists them")
        alive = {living.id for living in self._system.engines.alive((engine,))}
        return jsonify(self._entry(engine, alive))

    def _entry(self, engine: EngineState, alive: set[str]) -> Mapping[str, Any]:
        job = self._system.jobs.get(engine.job, None) if engine.job else None
        in_memory = [*((name, "loaded") for name in engine.resident), *((name, "warm") for name in engine.warm)]
        return ENGINE.dump(
            {
                **vars(engine),
                "age_seconds": round(engine.age, 1),
                "alive": engine.id in alive,
                "job": f"video_{engine.job}" if engine.job else None,
                "job_model": job.model if job else None,
                "loaded": [_loaded(name, state, engine.memory.get(name)) for name, state in in_memory],
                "lacks": dict(engine.lacks),
                "too_large": {name: str(need) for name, need in engine.too_large.items()},
            }
        )


def _loaded(name: str, state: str, held: ResidentBytes | None) -> dict[str, Any]:
    owned, shared = (held.owned, held.shared) if held else (0, 0)
    return LOADED.dump({"model": name, "state": state, "bytes_owned": owned, "bytes_shared": shared})
