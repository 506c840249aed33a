"""Liveness and readiness of the server."""

import time
from collections.abc import Callable, Sequence
from threading import Thread

from flask import Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_outage, reason
from router.runtime.once import Once
from router.runtime.release import installed_version
from router.runtime.threads import log_and_go_on
from router.system import System
from router.values import EngineState
from router.web.answer_fields import Answer, boolean, constant, enum, integer, one_of, string, strings
from router.web.openapi.operations import JSON, Example, Reply, Routes, ok


class Health(Answer):
    status = constant("this process answers", "ok")


class Version(Answer):
    version = string("the installed version of Framegate", lambda _: installed_version())


class Engine(Answer):
    id = string("a process that owns a device")
    device = string("its device, such as `cuda:0`")
    pid = integer("its process")
    resident = strings("the models that it has in memory")
    busy = boolean("whether it works on a job", lambda engine: engine.job is not None)
    draining = boolean("whether it claims no more jobs, until an admin says otherwise")


class Readiness(Answer):
    status = enum("whether a new job is taken and done", "ready", "no engine", "disk full", "store unavailable")
    reason = string("why not; where one can, it is not there", sometimes=True)
    engines = one_of("the engines that live", Engine)


LOOK_SECONDS = 0.5
DRAINING = "every engine drains: it claims no more jobs until DELETE /admin/engines/{engine_id}/drain"
OUT = "the store is out of reach"
ROUTES = Routes("Server")
HEALTH, VERSION, ENGINE, READINESS = Health(), Version(), Engine(), Readiness()


class Ops:
    """Liveness touches nothing; readiness looks at disk, store and heartbeats."""

    def __init__(self, system: System) -> None:
        self._system = system

    @ROUTES.add("GET /healthz", ok("it does", Health), examples=(Example("alive?"),), open=True)
    def health(self) -> Response:
        """Ask whether this process answers."""
        return jsonify(HEALTH.dump({}))

    @ROUTES.add("GET /health", ok("it does", Health), examples=(Example("alive?"),), open=True)
    def health_alias(self) -> Response:
        """Ask whether this process answers, under the name that other servers have."""
        return self.health()

    @ROUTES.add("GET /version", ok("it is", Version), examples=(Example("which?"),), open=True)
    def version(self) -> Response:
        """Ask which version of Framegate this is."""
        return jsonify(VERSION.dump({}))

    @ROUTES.add(
        "GET /readyz",
        {**ok("it is", Readiness), 503: Reply("it is not", {JSON: Readiness})},
        examples=(Example("ready?"),),
        open=True,
    )
    def readiness(self) -> Response:
        """Ask whether a new job is taken and done."""
        engines: tuple[EngineState, ...] = ()
        is_out = False
        try:
            engines = self._system.engines.alive()
            lack = "no engine gives signs of life" if not engines else DRAINING
            status, why = ("no engine", lack) if all(engine.draining for engine in engines) else ("ready", "")
        except SQLAlchemyError as error:
            is_out = is_outage(error)  # the log has the reason, which names addresses
            status, why = "store unavailable", OUT if is_out else f"the store cannot be read: {reason(error)}"
        if shortage := self._system.disk.shortage():
            status, why = "disk full", shortage
        elif is_out:
            pass  # another look would take its time
        elif problem := self._system.probe.problem():
            status, why = "store unavailable", f"the store cannot be written: {problem}"
        state = {"status": status, "engines": [ENGINE.dump(engine) for engine in engines]}
        response = jsonify(READINESS.dump({**state, "reason": why} if why else state))
        response.status_code = 200 if status == "ready" else 503
        return response


class ReadinessLog:
    """Reports when `/readyz` answers 200, which needs an engine."""

    def __init__(self, system: System) -> None:
        self._system = system

    def start(self, say: Callable[[str], None], listeners: Sequence[str], serves: Once, ready: Once) -> None:
        """Report readiness on `listeners` from a thread, and first what is missing."""

        def run() -> None:
            done = False
            while not done:
                with log_and_go_on("the look for an engine"):
                    done = self._look(say, listeners, serves, ready)
                time.sleep(0 if done else LOOK_SECONDS)

        Thread(target=run, name="readiness", daemon=True).start()

    def _look(self, say: Callable[[str], None], listeners: Sequence[str], serves: Once, ready: Once) -> bool:
        first = serves.taken()
        if lack := self._lack():
            for listener in listeners if first else ():
                say(f"Server on {listener} is open; {lack}")
            return False
        for listener in listeners if ready.taken() else ():
            say(f"Server ready on {listener}")
        return True

    def _lack(self) -> str | None:
        """Return what is missing for `/readyz` to answer 200."""
        if not (engines := self._system.engines.alive()):
            return "no engine runs yet"
        if all(engine.draining for engine in engines):
            return DRAINING
        if problem := self._system.probe.problem():
            return f"the store cannot be written: {problem}"
        return self._system.disk.shortage()
