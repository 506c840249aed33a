"""Prompts of more tokens than a model reads: one warning, in every dialect."""

import shutil
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.patience import until, watch

from nano.family import WEIGHTS, link_family
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

pytest.importorskip("tokenizers")
pytest.importorskip("ftfy")

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 2, negative_prompt: ''}"
MODELS = f"""
models:
  long: {{backend: still, family: wan-nano-t2v, source: ./weights, {SMALL}}}
  nano: {{backend: diffusers, source: 'embedded:wan-nano-t2v', defaults: {{num_frames: 5, steps: 1}}}}
  free: {{backend: still, modality: t2v, {SMALL}}}
"""
CUT = f'the prompt has 602 tokens; it is cut to the first 512, after "…{"x" * 40}"'
NEGATIVE = CUT.replace("the prompt", "the negative prompt")
LONG, OPTIONS = "x" * 600, {"video": {"negative_prompt": "x" * 600}}


@pytest.fixture
def system(settings: Settings) -> System:
    settings.models.write_text(MODELS)
    shutil.copytree(WEIGHTS / "shared" / "tokenizer", settings.models.parent / "weights" / "tokenizer")
    return assemble(settings, plugins=[encoder])


@pytest.fixture
def client(system: System) -> FlaskClient:
    return create_app(system).test_client()


def respond(client: FlaskClient, **body: Any) -> dict[str, Any]:
    request = {"model": "long", "input": LONG, "background": True, "provider_options": OPTIONS, **body}
    answer = client.post("/v1/responses", json=request)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def warned(client: FlaskClient, **body: Any) -> list[str]:
    """Ask until the answer warns, as it does once the tokenizer has been read."""
    return until(lambda: respond(client, **body)["warnings"])


def test_the_answer_that_accepts_a_job_says_that_its_prompts_will_be_cut(client: FlaskClient) -> None:
    assert respond(client)["warnings"] == []  # the tokenizer is not there yet, and nobody waits for it

    assert warned(client) == [CUT, NEGATIVE]
    video = client.post("/v1/videos", json={"model": "long", "prompt": LONG, "provider_options": OPTIONS}).get_json()
    assert video["warnings"] == [CUT, NEGATIVE]
    assert client.get(f"/v1/videos/{video['id']}").get_json()["warnings"] == [CUT, NEGATIVE]
    form = {"model": "long", "prompt": LONG}
    assert client.post("/v1/videos", data=form, content_type="multipart/form-data").get_json()["warnings"] == [CUT]


def test_instructions_count_as_they_stand_before_the_prompt(client: FlaskClient) -> None:
    warned(client)

    warnings = respond(client, instructions="y" * 300, input="x" * 300, provider_options={})["warnings"]

    assert [warning.partition(";")[0] for warning in warnings] == ["the prompt has 603 tokens"]


def test_other_warnings_stay(client: FlaskClient) -> None:
    warned(client)
    options = {"video": {"width": 70, "height": 70}}

    assert respond(client, provider_options=options)["warnings"] == [
        "size 70x70 was made 64x64: long takes multiples of 16",
        CUT,
    ]


def test_models_list_how_many_tokens_are_read(client: FlaskClient) -> None:
    listed = client.get("/v1/models").get_json()["data"]

    assert {model["id"]: model["limits"]["prompt_tokens"] for model in listed} == {
        "long": 512,
        "nano": 512,
        "free": None,
    }
    assert {model["limits"]["prompt"] for model in listed} == {8000}


def test_a_tokenizer_that_cannot_be_read_refuses_and_delays_nothing(client: FlaskClient, settings: Settings) -> None:
    path = settings.models.parent / "weights/tokenizer/tokenizer.json"
    path.write_text("[" * 100_000)
    respond(client)

    with watch() as counted:
        answers = [respond(client) for _ in range(10)]

    assert [answer["warnings"] for answer in answers] == [[]] * 10
    assert counted.seconds < 2


@pytest.fixture
def engine(system: System, request: pytest.FixtureRequest) -> Worker:
    """Run an engine beside the system, with the weights of the nano family."""
    pytest.importorskip("diffusers")
    link_family(system.weights.locate(system.registries.poll().find("nano")).parent)  # type: ignore[union-attr,arg-type]
    return request.getfixturevalue("worker")


@pytest.mark.slow
def test_a_finished_job_has_one_warning_of_each_prompt(client: FlaskClient, engine: Worker) -> None:
    def finished(job: str) -> list[str] | None:
        now = client.get(f"/v1/responses/{job}").get_json()
        assert now["status"] != "failed", now
        return now["warnings"] if now["status"] == "completed" else None

    first = respond(client, model="nano")  # of this one the engine alone warns
    assert until(lambda: finished(first["id"])) == [CUT, NEGATIVE]

    def accepted() -> dict[str, Any] | None:
        answer = respond(
            client, model="nano", provider_options={"video": OPTIONS["video"] | {"width": 70, "height": 70}}
        )
        return answer if len(answer["warnings"]) > 1 else None

    later = until(accepted)
    assert later["warnings"][1:] == [CUT, NEGATIVE]
    assert until(lambda: finished(later["id"])) == later["warnings"]
