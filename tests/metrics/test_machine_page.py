"""The metrics of a machine without a web half: its counters and its engines."""

import time
import urllib.request
from pathlib import Path

import pytest
from support.edge import half
from support.patience import until
from support.postgresql import Postgres
from support.prometheus import Scraped
from support.server import free_port

from router.cli.metrics import machine_metrics
from router.metrics import page
from router.settings import Settings
from router.system import System, assemble
from router.values import EngineState, Job, Task

TASK = Task("a", "", 64, 64, 5, 8, 2, 4.0, None, 3.0, 7, frozenset())
MODELS = "models: {text: {backend: still, modality: t2v}}"


@pytest.fixture
def machines(tmp_path: Path, postgres_url: str) -> dict[str, System]:
    """Return two machines with one store, each with an engine on cuda:0."""
    (tmp_path / "models.yaml").write_text(MODELS)
    found = {}
    for name in ("one", "two"):
        settings = Settings(data=tmp_path / name, models=tmp_path / "models.yaml", store=postgres_url, host=name)
        found[name] = assemble(settings)
        found[name].engines.heartbeat(engine(found[name], name))
    return found


def engine(system: System, name: str) -> EngineState:
    return EngineState(
        f"engine-{name}", system.device_name("cuda:0"), 1, ("text",), (), None, lock_domain=system.lock_domain
    )


def of_machine(system: System) -> Scraped:
    return Scraped(machine_metrics(system).decode())


def of_store(system: System) -> Scraped:
    text = page(system.metrics.folder, system.jobs, system.engines, system.ledger, ("text",), system.disk.free)
    return Scraped(text.decode())


def test_each_machine_has_its_own_engines_alone(machines: dict[str, System]) -> None:
    for name, system in machines.items():
        assert of_machine(system).of("framegate_engine_alive") == [({"device": f"{name}/cuda:0"}, 1)]
        assert {labels["device"] for labels, _ in of_machine(system).of("framegate_model_state")} == {f"{name}/cuda:0"}


def test_each_web_half_has_all_engines_by_their_hosts(machines: dict[str, System]) -> None:
    for system in machines.values():
        alive = of_store(system).of("framegate_engine_alive")
        assert alive == [({"device": "one/cuda:0"}, 1), ({"device": "two/cuda:0"}, 1)]


def test_a_machine_has_its_own_counters_and_not_the_queue(machines: dict[str, System]) -> None:
    one, two = machines.values()
    one.jobs.add(Job(id="a" * 32, owner="local", model="text", task=TASK, created_at=time.time()))
    one.metrics.loaded("text", one.device_name("cuda:0"))

    assert of_machine(one).of("framegate_loads_total") == [({"device": "one/cuda:0", "model": "text"}, 1)]
    assert of_machine(two).of("framegate_loads_total") == []
    assert of_machine(one).value("framegate_disk_free_bytes") > 0
    for name in ("framegate_jobs", "framegate_gpu_seconds_total"):
        assert of_machine(one).of(name) == []
        assert name.removesuffix("_total") not in machine_metrics(one).decode().replace("framegate_jobs_", "")
    assert of_store(two).value("framegate_jobs", status="queued") == 1


def test_counters_are_there_while_the_store_is_not(
    machines: dict[str, System], postgres: Postgres, postgres_url: str
) -> None:
    system = machines["one"]
    system.metrics.loaded("text", "one/cuda:0")
    postgres.stop()  # in order: a heartbeat may get lost with a killed server

    assert of_machine(system).value("framegate_loads_total") == 1
    assert of_machine(system).of("framegate_engine_alive") == []

    postgres.start()
    assert until(lambda: of_machine(system).value("framegate_engine_alive")) == 1


def test_a_local_store_has_the_engines_of_its_folder(system: System) -> None:
    system.engines.heartbeat(engine(system, "here"))

    assert of_machine(system).of("framegate_engine_alive") == [({"device": "cuda:0"}, 1)]


@pytest.mark.slow
def test_framegate_engine_answers_at_its_address(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    address = f"127.0.0.1:{free_port()}"
    known = {"models": tmp_path / "models.yaml", "data": tmp_path / "data", "metrics_listen": address}

    def scraped() -> float:
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
                return Scraped(answer.read().decode()).value("framegate_engine_alive", device="cpu")
        except OSError:  # it does not listen yet
            return 0

    with half(tmp_path / "log", "engine", "--device", "cpu", **known):
        assert until(scraped) == 1

        with half(tmp_path / "other", "engine", "--device", "cpu", **known | {"data": tmp_path / "else"}) as other:
            assert other.wait(60) != 0
        assert (
            f"cannot serve metrics on 127.0.0.1, port {address.rpartition(':')[2]}" in (tmp_path / "other").read_text()
        )
