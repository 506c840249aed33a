"""What an engine measures of its jobs, and counts of its models."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import MODELS
from support.prometheus import Scraped

from router import Frames, hookimpl
from router.engine.job_timer import JobTimer
from router.engine.worker import Worker
from router.errors import OutOfMemory
from router.metrics import page
from router.settings import Settings
from router.system import System, assemble
from router.values import Phase
from router.web import create_app


class Breaks:
    """Fails in the third step of each job."""

    @hookimpl(tryfirst=True)
    def generate(self, report: Callable[..., None]) -> Frames:
        for step in (1, 2):
            report(step, 4)
        raise OutOfMemory("too large")


def scrape(system: System) -> Scraped:
    return Scraped(page(system.metrics.folder, system.jobs, system.engines, system.ledger, (), free=0).decode())


def ask(system: System, model: str = "text", **video: Any) -> str:
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    return str(create_app(system).test_client().post("/v1/responses", json=body).get_json()["id"])


def phases(system: System, model: str = "text") -> dict[str, float]:
    found = scrape(system).of("framegate_phase_seconds_count", model=model)
    return {labels["phase"]: number for labels, number in found}


def test_a_job_is_measured_by_phase_and_by_step(system: System) -> None:
    worker = Worker(system, "cpu")
    for steps in (4, 6):
        ask(system, "slow", steps=steps)
        worker.run_one()

    scraped = scrape(system)
    assert phases(system, "slow") == {"load": 1, "step": 2, "decode": 2}  # the second job found it loaded
    assert scraped.value("framegate_step_seconds_count", model="slow") == 3 + 5
    assert scraped.value("framegate_step_seconds_sum", model="slow") >= 8 * 0.05
    assert scraped.value("framegate_step_seconds_bucket", model="slow", le="0.025") == 0
    assert scraped.value("framegate_phase_seconds_sum", model="slow", phase="step") >= 10 * 0.05


def test_a_phase_that_did_not_come_to_its_end_is_not_measured(settings: Settings) -> None:
    system = assemble(settings, plugins=[Breaks()])
    ask(system)
    Worker(system, "cpu").run_one()

    assert phases(system) == {"load": 1}
    assert scrape(system).value("framegate_jobs_finished_total", model="text", outcome="out_of_memory") == 1


@pytest.mark.parametrize(
    ("reports", "steps"),
    [
        ([(Phase.STEP, 0), (Phase.STEP, 1)], 0),  # the first has the text encoder in it
        ([(Phase.STEP, 0), (Phase.STEP, 1), (Phase.STEP, 1), (Phase.STEP, 2)], 1),
        ([(Phase.STEP, 1), (Phase.STEP, 5)], 4),
        ([(Phase.LOAD, 1), (Phase.LOAD, 2), (Phase.STEP, 1), (Phase.DECODE, 1), (Phase.DECODE, 2)], 0),
    ],
)
def test_a_step_is_what_lies_between_two_reports(system: System, reports: list[tuple[Phase, int]], steps: int) -> None:
    timer = JobTimer("text", 4, None, system.metrics)
    for phase, done in reports:
        timer.report(phase, done)

    assert scrape(system).value("framegate_step_seconds_count", model="text") == steps


def test_loads_and_evictions_are_counted(settings: Settings) -> None:
    system = assemble(Settings(data=settings.data, models=settings.models, resident_models=1))
    worker = Worker(system, "cpu")
    for model in ("text", "both", "both", "text"):
        ask(system, model)
        worker.run_one()
    worker._residency.clear()  # at the end of an engine: nobody had to make room

    scraped = scrape(system)
    assert scraped.value("framegate_loads_total", device="cpu", model="text") == 2
    assert scraped.value("framegate_loads_total", device="cpu", model="both") == 1
    assert scraped.value("framegate_evictions_total", device="cpu", model="text") == 1
    assert scraped.value("framegate_evictions_total", device="cpu", model="both") == 1


def test_a_model_that_is_warmed_up_is_a_load_and_no_job(settings: Settings) -> None:
    settings.models.write_text(MODELS.replace("text: {backend: still,", "text: {warm_up: true, backend: still,"))
    system = assemble(settings)
    Worker(system, "cpu")._warm_models()

    assert scrape(system).value("framegate_loads_total", model="text") == 1
    assert phases(system) == {}
