"""`/v1/responses`: make a video, wait for it or come back for it."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify

from router.errors import HttpError
from router.intake import Intake
from router.system import System
from router.values import Job, Status
from router.web.access import owner
from router.web.asking import read_response_request
from router.web.body import read_json
from router.web.ids import find, job_id, unknown
from router.web.rendering import Rendering
from router.web.waiting import Waiting


class Responses:
    """Create, retrieve, cancel, delete."""

    def __init__(self, system: System, intake: Intake, waiting: Waiting) -> None:
        self._system = system
        self._intake = intake
        self._waiting = waiting
        self._rendering = Rendering(system.artifacts, system.settings.public_url)

    def blueprint(self) -> Blueprint:
        routes = Blueprint("responses", __name__)
        routes.add_url_rule("/v1/responses", view_func=self.create, methods=["POST"])
        routes.add_url_rule("/v1/responses/<public>", view_func=self.retrieve)
        routes.add_url_rule("/v1/responses/<public>", view_func=self.delete, methods=["DELETE"])
        routes.add_url_rule("/v1/responses/<public>/cancel", view_func=self.cancel, methods=["POST"])
        return routes

    def create(self) -> Response:
        asked = read_response_request(read_json(self._system.settings.max_body_bytes))
        if asked.background:
            return self._answer(self._intake.submit(asked.request, owner=owner(), request_id=g.request_id))
        with self._waiting.place():
            job = self._intake.submit(asked.request, owner=owner(), request_id=g.request_id)
            job = self._waiting.until_finished(job.id, job.owner)
        if job.status is Status.FAILED:
            raise _failed(job)
        return self._answer(job)

    def retrieve(self, public: str) -> Response:
        return self._answer(self._find(public))

    def cancel(self, public: str) -> Response:
        """Cancel an unfinished response; a finished one is returned as it is."""
        job = self._system.jobs.cancel(job_id(public, "resp"), owner())
        if job is not None:
            self._system.plugins.announce(job)
        return self._answer(job or self._find(public))

    def delete(self, public: str) -> Response:
        """Forget a response in any state; a running one stops at its next step."""
        job = self._system.jobs.delete(job_id(public, "resp"), owner())
        if job is None:
            raise unknown(public)
        self._system.artifacts.delete(job.id)
        return jsonify(id=public, object="response", deleted=True)

    def _find(self, public: str) -> Job:
        return find(self._system.jobs, public, "resp", owner())

    def _answer(self, job: Job) -> Response:
        return jsonify(self._rendering.response(job))


def _failed(job: Job) -> HttpError:
    failure = job.failure
    return HttpError(
        failure.message if failure else "the job failed",
        code=failure.code if failure else None,
        headers=(("x-should-retry", "false"),),
    )
