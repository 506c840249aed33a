"""Seconds of loads: without downloads, learnt by origin, booked in the ledger."""

import sqlite3
from contextlib import closing, suppress

import pytest
from support.moved_clock import Clock

from registry import ModelSpec
from router.engine.load_timer import LoadTimer
from router.system import System
from router.values import Origin


def model_of(system: System) -> ModelSpec:
    model = system.registries.model("text", None)
    assert model is not None
    return model


def booked(system: System) -> list[tuple[int, float]]:
    """Return the number of loads in the ledger, and their seconds."""
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite")) as db:
        return db.execute("SELECT attempts, gpu_seconds FROM ledger WHERE outcome = 'load'").fetchall()


def test_a_load_is_booked_and_learnt_without_its_download(system: System) -> None:
    clock = Clock()
    timer, model = LoadTimer(system, "cpu", clock), model_of(system)
    for origin, download, load in ((Origin.COLD, 60.0, 8.0), (Origin.WARM, 0.0, 1.0)):
        with timer.load(model, origin):
            with timer.download():
                clock.wait(download)
            clock.wait(load)

    assert system.timings.load_seconds(model, "cpu", Origin.COLD) == 8.0
    assert system.timings.load_seconds(model, "cpu", Origin.WARM) == 1.0
    assert booked(system) == [(2, 9.0)]


def test_a_load_that_fails_is_booked_and_not_learnt(system: System) -> None:
    clock = Clock()
    timer, model = LoadTimer(system, "cpu", clock), model_of(system)
    with suppress(OSError), timer.load(model, Origin.COLD):
        with timer.download():
            clock.wait(60.0)
        clock.wait(3.0)
        raise OSError

    assert system.timings.load_seconds(model, "cpu", Origin.COLD) is None
    assert booked(system) == [(1, 3.0)]


def test_the_work_of_a_warm_up_is_booked_also_where_it_fails(system: System) -> None:
    clock = Clock()
    timer, model = LoadTimer(system, "cpu", clock), model_of(system)
    with timer.warm_up(model):
        clock.wait(2.0)
    with suppress(OSError), timer.warm_up(model):
        clock.wait(3.0)
        raise OSError

    assert booked(system) == [(2, 5.0)]
    assert system.timings.load_seconds(model, "cpu", Origin.COLD) is None


def test_a_store_that_takes_nothing_fails_no_load(system: System, caplog: pytest.LogCaptureFixture) -> None:
    timer, model = LoadTimer(system, "cpu", Clock()), model_of(system)
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite")) as db:
        db.executescript("DROP TABLE ledger; DROP TABLE loads")
    with timer.load(model, Origin.COLD):
        pass

    assert caplog.text.count("the store did not take the seconds of a load: no such table") == 2
