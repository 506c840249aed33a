"""`/admin/queue` and `/admin/failures`: the queue, its throughput, failed jobs."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, jsonify, request

from router.errors import UnknownJob
from router.storage.artifacts import JOB_ID
from router.system import System
from router.values import Job
from router.web.access import require_admin
from router.web.answer_fields import Answer, constant, integer, number, one_of, string
from router.web.answers import Page
from router.web.http import query
from router.web.http.fields import shown
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Routes, ok
from router.web.openapi.parameters import AFTER, LIMIT

ROUTES = Routes("Admin")
HOURS = 24


class ModelQueue(Answer):
    """The unfinished jobs of a model."""

    model = string("its name")
    queued = integer("jobs that wait")
    running = integer("jobs that run")
    expected_seconds = number(
        "of the work of the queued jobs together, null while one is of unknown length",
        lambda found: None if found.expected is None else round(found.expected, 1),
        none=True,
    )
    oldest_seconds = number(
        "since its oldest queued job was asked for, null without one",
        lambda found: None if found.oldest is None else round(found.oldest, 1),
        none=True,
    )


class HourOfWork(Answer):
    """The jobs that ended in an hour, without deleted ones."""

    hour = string(
        "its first second, in UTC",
        lambda found: datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        examples=["2026-12-01T09:00:00Z"],
    )
    completed = integer("with a file")
    failed = integer("with an error")
    cancelled = integer("cancelled")
    gpu_seconds = number("that they used of their devices", lambda found: round(found.gpu_seconds, 3))


class Queue(Answer):
    object = constant("its kind", "queue")
    data = one_of("the models with unfinished jobs, by name", ModelQueue)
    hours = one_of(f"the last {HOURS} hours, the oldest first; the last one is not over", HourOfWork)


class FailedJob(Answer):
    """A job that failed; cancelled ones are none."""

    id = string("the id of its video", lambda job: f"video_{job['id']}")
    model = string("which model ran")
    owner = string("whose job it was; `local` on a server without keys")
    key_name = string("the name of the key that asked for it, null without one", none=True)
    created_at = integer("when it was asked for, in seconds since 1970", lambda job: int(job["created_at"]))
    finished_at = integer("when it failed, in seconds since 1970", lambda job: int(job["finished_at"]))
    code = string("why, in one word", lambda job: job["failure"].code, examples=["out_of_memory"])
    message = string("why, in a sentence", lambda job: job["failure"].message)
    cause = string("the exception that callers are not told, null where the message says all", none=True)
    attempts = integer("how often an engine began it", lambda job: job["attempt"])
    request_id = string("the `x-request-id` of its request, which the log has too")


class Failures(Page):
    data = one_of("the jobs, the last to fail first", FailedJob)


QUEUE, MODEL, HOUR, FAILED = Queue(), ModelQueue(), HourOfWork(), FailedJob()


class QueueViews:
    def __init__(self, system: System) -> None:
        self._system = system

    @ROUTES.add("GET /admin/queue", ok("the queue", Queue), examples=(Example("look"),))
    def get_queue(self) -> Response:
        """Read the queue by model, and the work of the last 24 hours."""
        require_admin()
        overview = self._system.overview
        data, hours = map(MODEL.dump, overview.queue()), map(HOUR.dump, overview.hours(HOURS))
        return jsonify(QUEUE.dump({"data": [*data], "hours": [*hours]}))

    @ROUTES.add(
        "GET /admin/failures",
        ok("a page", Failures),
        parameters=(LIMIT, AFTER),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(Example("the newest"),),
    )
    def list_failures(self) -> Response:
        """List the jobs of all owners that failed."""
        require_admin()
        limit, after = query.limit(), request.args.get("after")
        found = self._system.overview.failed(_job_id(after) if after else None, limit + 1)
        if found is None:
            raise UnknownJob(f"after must be the id of a failed video, got {shown(after)}", param="after")
        names = {key.id: key.name for key in self._system.keys.all()}
        return jsonify(query.page([_entry(job, names) for job in found], limit))


def _job_id(public: str) -> str:
    """Return the job of a video's id, '' for anything else."""
    kind, _, job = public.partition("_")
    return job if kind == "video" and JOB_ID.fullmatch(job) else ""


def _entry(job: Job, names: dict[str, str]) -> dict[str, Any]:
    return FAILED.dump({**vars(job), "key_name": names.get(job.key) if job.key else None})
