"""The expected seconds of loads: of a claim, and of a heartbeat."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from support.engine_backends import queue

from registry import ModelSpec
from router.engine.residency import Residency
from router.engine.switch import UNKNOWN_SECONDS, Switch
from router.engine.worker import Worker
from router.jobs import Database, TimingStore, open_database
from router.system import System
from router.values import Origin


class Measured(TimingStore):
    """Timings of measured loads."""

    def __init__(self, database: Database, loads: Mapping[tuple[str, Origin], float]) -> None:
        super().__init__(database)
        self.loads = loads
        self.kinds: set[str] = set()

    def load_seconds(self, model: ModelSpec, kind: str, origin: Origin) -> float | None:
        self.kinds.add(kind)
        return self.loads.get((model.name, origin), self.loads.get((model.name, Origin.COLD)))


class Held(Residency):
    """A residency of one loaded and one warm model."""

    names = ("text",)
    warm = ("image",)

    def __init__(self) -> None:
        pass


def measured(system: System, loads: Mapping[tuple[str, Origin], float]) -> tuple[System, Measured]:
    timings = Measured(open_database(system.settings.data / "jobs.sqlite"), loads)
    return replace(system, timings=timings), timings


def test_a_loaded_model_takes_none_a_warm_one_its_own_and_an_unknown_one_the_longest(
    build: Callable[..., System],
) -> None:
    system, timings = measured(
        build(), {("image", Origin.WARM): 2.0, ("image", Origin.COLD): 40.0, ("slow", Origin.COLD): 9.0}
    )
    switch = Switch(timings, Held(), "some GPU")
    switch.refresh(system.registries.poll().models)

    assert {"text": 0.0, "image": 2.0, "slow": 9.0, "both": 9.0}.items() <= switch.seconds.items()
    assert switch.loads == {**switch.seconds, "text": 9.0}
    assert timings.kinds == {"some GPU"}


def test_before_any_load_each_takes_a_guess(build: Callable[..., System]) -> None:
    system, timings = measured(build(), {})
    switch = Switch(timings, Held(), "cpu")
    switch.refresh(system.registries.poll().models)

    assert switch.seconds["text"] == 0.0
    assert {switch.seconds[name] for name in ("image", "slow", "both")} == {UNKNOWN_SECONDS}


def test_a_heartbeat_says_what_a_load_takes_loaded_or_not(build: Callable[..., System]) -> None:
    system, _ = measured(build(), {("slow", Origin.COLD): 30.0})
    worker = Worker(system, "cpu")
    assert (worker._state().loads["slow"], worker._state().loads["text"]) == (30.0, 30.0)
    queue(system, "slow")
    worker.run_one()
    (engine,) = system.engines.alive()

    assert (engine.kind, engine.resident, engine.loads["slow"], engine.loads["text"]) == ("cpu", ("slow",), 30.0, 30.0)


@pytest.mark.parametrize(("seconds", "first"), [(0.0, "slow"), (60.0, "text")])
def test_a_claim_weighs_the_load_against_the_order(build: Callable[..., System], seconds: float, first: str) -> None:
    system, _ = measured(build(), {("slow", Origin.COLD): seconds})
    worker = Worker(system, "cpu")
    queue(system, "text")
    worker.run_one()
    queue(system, "slow")
    queue(system, "text")
    worker.run_one()

    assert worker._residency.names[-1] == first
