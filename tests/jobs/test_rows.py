"""Adapters and numerics of jobs in rows, beside rows of older versions."""

import hashlib
import json
from dataclasses import asdict, replace

from registry import Input, PerExpert
from router.jobs import Database, JobStore
from router.jobs.idempotency import key_of
from router.jobs.rows import job_row
from router.request import AdapterChoice, Options, Request
from router.values import Job, Numerics, Task, UsedAdapter

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
PLAIN = Job("0" * 32, "me", "m", TASK)
ADAPTED = replace(
    PLAIN,
    id="1" * 32,
    task=replace(TASK, adapters=(UsedAdapter("fast4"), UsedAdapter("style", 3.0, 1.5))),
    numerics=Numerics(False, ("adapter fast4", "adapter style"), ("compile",)),
)


def test_adapters_and_numerics_come_back_from_the_store(database: Database) -> None:
    store = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=9)
    for job in (PLAIN, ADAPTED):
        found = store.get(store.add(job).id, "me")

        assert found is not None
        assert (found.task, found.numerics) == (job.task, job.numerics)


def test_a_job_without_adapters_can_be_read_by_older_versions() -> None:
    assert json.loads(job_row(PLAIN)["task"]) == {
        "prompt": "a", "negative_prompt": "", "width": 64, "height": 64, "num_frames": 5, "frames_per_second": 8, "steps": 4,
        "guidance_scale": 4.0, "guidance_scale_2": None, "flow_shift": 3.0, "seed": 1, "given": ["text"],
    }  # fmt: skip
    assert json.loads(job_row(ADAPTED)["task"])["adapters"] == [
        {"name": "fast4", "high": 1.0, "low": 1.0},
        {"name": "style", "high": 3.0, "low": 1.5},
    ]


def test_a_key_of_an_older_version_still_stands_for_its_request() -> None:
    request = Request("m", "a", options=Options(steps=3), seed=7)
    fields = {
        "model": "m", "prompt": "a", "pictures": [], "options": asdict(request.options), "seed": 7,
        "params": "provider_options.video", "dialect": "input", "form": request.presentation.as_row(),
    }  # fmt: skip
    stored = hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()

    assert key_of("k", request, []).request == stored


def test_adapters_and_their_strengths_are_part_of_a_key() -> None:
    request = Request("m", "a")
    strong = AdapterChoice("noir", PerExpert(2.0, 2.0))
    choices = (None, (), (AdapterChoice("noir"),), (strong,), (strong, AdapterChoice("fast4")))
    keys = [key_of("k", replace(request, adapters=adapters), []).request for adapters in choices]

    assert len(set(keys)) == len(choices)
    again = AdapterChoice("noir", PerExpert(2.0, 2.0))
    assert key_of("k", replace(request, adapters=(again,)), []).request == keys[3]
