"""Generated requests of schemathesis: no 5xx, no answer outside the document.

`EXAMPLES=300` makes a longer run: so many random requests to each route, instead of a few.
"""

import logging
import os
from collections import Counter
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis import engine
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from support.contract import closed

from router.engine.worker import Worker
from router.system import System
from router.web import create_app

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("EXAMPLES", 5))
SERVED = ["any", "text", "image", "both", "ends"]
SMALL = {"width": (16, 128), "height": (16, 128), "num_frames": (1, 49), "steps": (1, 60)}  # what these models take


@pytest.fixture
def app(system: System, worker: Worker) -> Flask:
    return create_app(system)


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    found = closed(app.test_client().get("/openapi.json").get_json())
    bodies = found["paths"]["/v1/videos/estimate"]["post"]["requestBody"]["content"]
    for form in [kind for kind in bodies if kind != "application/json"]:
        del bodies[form]  # read as those of /v1/videos: the same fields again would take a minute
    del found["paths"]["/admin/engines/{engine_id}/drain"]  # the ids are in other answers: nothing would run any more
    return found


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document within the limits of these models: most requests become videos."""
    schemas, create = document["components"]["schemas"], document["paths"]["/v1/videos"]["post"]["requestBody"]
    form = create["content"]["multipart/form-data"]["schema"]["properties"]
    for name, (least, most) in SMALL.items():
        for said in (schemas["MediaOptions"]["properties"][name], form[f"provider_options[video][{name}]"]):
            said |= {"minimum": least, "maximum": most}
    for fields in (schemas["CreateResponse"]["properties"], schemas["CreateVideo"]["properties"], form):
        fields["model"] = {"enum": SERVED}
    for fields in (schemas["CreateVideo"]["properties"], form):
        fields["size"] = {"type": "string", "pattern": "^(32|64)x(64|128)$"}
        fields["seconds"] = {"type": "number", "minimum": 0.1, "maximum": 3}
    del document["paths"]["/v1/responses"]["post"]["parameters"]  # one key for all of them would make one job
    return document


def run(
    app: Flask, document: dict[str, Any], mode: str, examples: int, *, boundaries: bool
) -> Counter[tuple[str, int]]:
    """Send schemathesis's requests; return the count of each route and status.

    With `boundaries` also what is at, and just beyond, each bound that the document names.
    """
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "continue-on-failure": True,
            "generation": {"mode": mode, "max-examples": examples, "no-shrink": True, "database": "none"},
            "phases": {"coverage": {"enabled": boundaries}},
            "checks": {"positive_data_acceptance": {"enabled": False}},  # a model may refuse what a schema allows
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = app
    seen: Counter[tuple[str, int]] = Counter()
    problems: dict[tuple[str, str], str] = {}
    for event in engine.from_schema(schema).execute():
        assert not isinstance(event, FatalError | NonFatalError), event
        if isinstance(event, ScenarioFinished):
            seen.update(_statuses(event))
            problems |= _problems(event)
    assert not problems, "\n\n".join(problems.values())
    return seen


def _statuses(event: ScenarioFinished) -> list[tuple[str, int]]:
    cases = event.recorder.cases
    exchanges = event.recorder.interactions.items()
    return [(cases[case].value.operation.label, one.response.status_code) for case, one in exchanges if one.response]


def _problems(event: ScenarioFinished) -> dict[tuple[str, str], str]:
    found = {}
    for case, checks in event.recorder.checks.items():
        for failed in (check for check in checks if check.failure_info):
            asked = event.recorder.cases[case].value
            words = f"{failed.failure_info.failure.title}\n{failed.failure_info.failure.message}"
            found[asked.operation.label, words] = f"{asked.as_curl_command()[:2000]}\n{words[:2000]}"
    return found


def unfit(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


def test_no_answer_is_outside_the_document(
    app: Flask, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    seen = run(app, document, "all", EXAMPLES, boundaries=True)

    assert {label.split()[1] for label, _ in seen} == document["paths"].keys()
    assert unfit(caplog) == []


def test_no_answer_to_a_good_request_is_outside_the_document(
    app: Flask, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    seen = run(app, narrowed(document), "positive", 5 * EXAMPLES, boundaries=False)

    for label in ("POST /v1/responses", "POST /v1/videos", "GET /v1/videos/{video_id}/content"):
        assert seen[label, 200] > 3, seen  # or else it has proved nothing
    assert unfit(caplog) == []
