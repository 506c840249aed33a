"""The log names what a server lacks until it is ready."""

from dataclasses import replace
from pathlib import Path

from flask.testing import FlaskClient

from router.runtime.byte_size import ByteSize
from router.runtime.disk import Disk
from router.runtime.once import Once
from router.system import System
from router.values import EngineState
from router.web.health import ReadinessLog


def said(system: System, serves: Once, ready: Once) -> list[str]:
    found: list[str] = []
    ReadinessLog(system)._look(found.append, ["http://here"], serves, ready)
    return found


def test_a_server_is_ready_once_it_has_an_engine(system: System) -> None:
    serves, ready = Once(), Once()
    assert said(system, serves, ready) == ["Server on http://here is open; no engine runs yet"]
    assert said(system, serves, ready) == []
    system.engines.heartbeat(EngineState("e", "cpu", 1, (), (), None))

    assert said(system, serves, ready) == ["Server ready on http://here"]


def test_a_server_whose_disk_is_full_is_not_ready(system: System, tmp_path: Path) -> None:
    serves, ready = Once(), Once()
    system.engines.heartbeat(EngineState("e", "cpu", 1, (), (), None))
    short = replace(system, disk=Disk(tmp_path, ByteSize(100, "%")))
    (line,) = said(short, serves, ready)

    assert "is open; " in line
    assert "FRAMEGATE_MIN_FREE is" in line
    assert said(system, serves, ready) == ["Server ready on http://here"]


def test_a_server_whose_store_cannot_be_written_is_not_ready(system: System) -> None:
    serves, ready = Once(), Once()
    system.engines.heartbeat(EngineState("e", "cpu", 1, (), (), None))
    system.settings.job_store.rename(system.settings.data / "moved")  # type: ignore[union-attr]
    (line,) = said(system, serves, ready)

    assert "the store cannot be written" in line


def test_a_server_whose_engines_all_drain_is_not_ready(system: System, client: FlaskClient) -> None:
    serves, ready = Once(), Once()
    for name in ("a", "b"):
        system.engines.heartbeat(EngineState(name, "cpu", 1, (), (), None))
        system.engines.drain(name, True)
    (line,) = said(system, serves, ready)
    answer = client.get("/readyz")

    assert "is open; every engine drains" in line
    assert (answer.status_code, answer.get_json()["status"]) == (503, "no engine")
    assert answer.get_json()["reason"].startswith("every engine drains")
    assert [engine["draining"] for engine in answer.get_json()["engines"]] == [True, True]
    system.engines.drain("b", False)
    assert client.get("/readyz").status_code == 200
    assert said(system, serves, ready) == ["Server ready on http://here"]
