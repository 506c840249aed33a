"""A repeated report checks whether the job goes on, and writes nothing."""

import time

import pytest

from router.engine.job_timer import JobTimer
from router.engine.previews import Previews
from router.engine.reporter import CHECK_SECONDS, WRITE_SECONDS, Reporter
from router.errors import JobCancelled
from router.jobs import ClaimRequest
from router.system import System
from router.values import Phase
from router.web import create_app


def test_the_same_report_again_writes_nothing_and_learns_of_a_cancel(system: System) -> None:
    body = {"model": "slow", "input": "a", "background": True}
    job = create_app(system).test_client().post("/v1/responses", json=body).get_json()["id"].removeprefix("resp_")
    claimed = system.jobs.claim("engine", ClaimRequest(("slow",), (), {}))
    assert claimed is not None
    timer = JobTimer("slow", 4, None, system.metrics)
    previews = Previews(system.artifacts, job)
    report = Reporter(system.jobs, claimed[0], lambda phase: None, previews, timer, seconds=60).phase(Phase.STEP)

    report(1, 4)
    changes = system.jobs.newest()
    for _ in range(5):
        time.sleep(WRITE_SECONDS)
        report(1, 4)
    assert system.jobs.newest() == changes
    report(2, 4)
    assert system.jobs.newest() == changes + 1

    system.jobs.cancel(job, "local")
    time.sleep(2 * CHECK_SECONDS)
    with pytest.raises(JobCancelled):
        report(2, 4)
