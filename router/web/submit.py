"""The one way from a request over HTTP to its job."""

from __future__ import annotations

from flask import g

from router.intake.intake import Intake
from router.request import Request
from router.values import Job
from router.web.access import caller, idempotency_key, share
from router.web.http.body import release_body


def submit(intake: Intake, request: Request) -> Job:
    """Queue a request of this caller and return its job; raises as `Intake.submit` does."""
    by = caller()
    job = intake.submit(
        request, owner=by.owner, request_id=g.request_id, key=idempotency_key(), api_key=by.key, share=share()
    )
    release_body()
    return job
