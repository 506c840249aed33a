"""`POST /v1/videos/estimate`: the answers, the refusals, and nothing left behind."""

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import MODELS, data_url, leftovers, png
from flask.testing import FlaskClient
from support.accounts import book
from support.callers import client_of, make_key
from support.fuzz import Fuzzer
from support.website import Website, status
from werkzeug.test import TestResponse

from router import Task, hookimpl
from router.accounting.budgets import Budget, Budgets, Window
from router.auth.keys import LOCAL, Scope
from router.engine import encoder
from router.engine.worker import Worker
from router.errors import Refused
from router.intake.expectation import default_task
from router.jobs import OwnerStore
from router.settings import Settings
from router.system import System, assemble
from router.values import EngineState, WorkSeconds
from router.web import create_app

SECONDS = WorkSeconds(text=1.0, steps=4.0, decode=2.0, encode=0.5)
BIG = "9000x9000"


def ask(client: FlaskClient, **body: Any) -> TestResponse:
    return client.post("/v1/videos/estimate", json={"prompt": "a", **body})


def estimate(client: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = ask(client, **body)
    assert answer.status_code == 200, answer.get_json()
    return dict(answer.get_json())


def make(client: FlaskClient, **body: Any) -> TestResponse:
    return client.post("/v1/videos", json={"prompt": "a", **body})


def learn(system: System, name: str = "text", seconds: WorkSeconds = SECONDS, kind: str = "cpu") -> None:
    model = system.registries.model(name, None)
    assert model is not None
    task = default_task(model)
    assert task is not None
    system.timings.learn(kind, model, task, seconds)


def beat(system: System, **state: Any) -> EngineState:
    """Store the heartbeat of an engine of all models."""
    engine = replace(Worker(system, "cpu")._state(), **{"kind": "cpu", "resident": (), "loads": {}, **state})
    system.engines.heartbeat(engine)
    return engine


def error(answer: TestResponse) -> tuple[int, str, str, str]:
    said = answer.get_json()["error"]
    return answer.status_code, said["code"], said["param"], said["message"]


def test_an_estimate_says_what_the_video_would_be(client: FlaskClient) -> None:
    made = estimate(client, model="org/text", size="100x64", seconds="2", steps=7)

    assert (made["object"], made["model"], made["size"], made["seconds"]) == (
        "video.estimate",
        "text",
        "96x64",
        "2.125",
    )
    assert made["num_frames"] == 17
    used = made["provider_options"]["video"]
    assert (used["width"], used["height"], used["num_frames"], used["steps"]) == (96, 64, 17, 7)
    assert (used["seed"], used["adapters"], used["negative_prompt"]) == (None, [], "")
    assert made["warnings"] == ["size 100x64 was made 96x64: text takes multiples of 16"]
    unknown = ("expected_seconds", "basis", "load_seconds", "remaining_seconds", "cost")
    assert {name: made[name] for name in unknown} == dict.fromkeys(unknown)


def test_what_an_estimate_says_is_used_by_the_video(client: FlaskClient) -> None:
    body = {"seconds": "1", "seed": 3, "size": "96x64", "guidance_scale": 2, "image_size": "300x200"}
    said = estimate(client, **body)
    del body["image_size"]
    made = make(client, **body, image=data_url(png(300, 200))).get_json()

    for key in ("model", "size", "warnings", "provider_options"):
        assert said[key] == made[key], key


def test_an_estimate_leaves_nothing_behind(client: FlaskClient, system: System) -> None:
    estimate(client, image=data_url(png()), model="image")

    assert system.jobs.newest() == 0
    assert client.get("/v1/videos").get_json()["data"] == []
    assert leftovers(system) == []


def test_a_measured_model_has_seconds_a_price_and_a_basis(settings: Settings) -> None:
    settings.models.write_text(MODELS.replace("steps: 60}", "steps: 60}, price: 0.01", 1))
    system = assemble(settings)
    client = create_app(system).test_client()
    learn(system)
    beat(system, loads={"text": 20.0, "slow": 3.0})
    same, other, free = estimate(client), estimate(client, size="128x128"), estimate(client, model="slow")

    assert (same["expected_seconds"], same["basis"], same["cost"]) == (7.5, "measured", 0.075)
    assert (same["load_seconds"], same["remaining_seconds"]) == (20.0, 27.5)
    assert other["basis"] == "fitted"
    assert other["cost"] == pytest.approx(other["expected_seconds"] * 0.01, abs=1e-5)
    assert (free["basis"], free["cost"], free["load_seconds"]) == ("borrowed", None, 3.0)


def test_the_remaining_time_is_that_of_the_job_once_it_is_sent(client: FlaskClient, system: System) -> None:
    learn(system)
    beat(system, resident=("text",), loads={"text": 20.0})
    assert estimate(client)["load_seconds"] == 0
    for _ in range(3):
        make(client, model="text", size="128x128")
    said = estimate(client, model="text")
    made = make(client, model="text").get_json()

    assert said["remaining_seconds"] == pytest.approx(made["remaining_seconds"], abs=0.1)


def test_a_long_queue_counts_in_the_remaining_time(client: FlaskClient, system: System) -> None:
    learn(system)
    beat(system, resident=("text",))
    for _ in range(120):
        make(client, model="text")

    assert estimate(client, model="text")["remaining_seconds"] == pytest.approx(121 * 7.5, rel=0.01)


def test_a_model_whose_engine_is_gone_has_no_remaining_time(client: FlaskClient, system: System) -> None:
    learn(system)
    beat(system, models=("slow",))

    assert estimate(client, model="text")["remaining_seconds"] is None


def test_the_size_of_an_image_stands_for_the_image(client: FlaskClient) -> None:
    said = estimate(client, image_size="300x100")
    image = estimate(client, image=data_url(png(300, 100)))
    both = estimate(client, model="ends", image_size="64x64", last_image_size="64x640", size="64x64")

    assert (said["model"], said["size"]) == ("image", "96x32")
    assert {**said, "warnings": []} == {**image, "warnings": []}
    assert said["warnings"] == image["warnings"] == make(client, image=data_url(png(300, 100))).get_json()["warnings"]
    assert both["warnings"] == ["last image 64x640 was cropped to 64x64: 90 % of it is not in the video"]


def test_an_image_is_fetched_only_where_it_decides_the_size(settings: Settings) -> None:
    site = Website()
    site.answers["/a.png"] = status(200, body=png(300, 100))
    system = assemble(replace(settings, image_hosts=(f"127.0.0.1:{site.port}",)))
    client = create_app(system).test_client()
    try:
        estimate(client, image=site.url("/a.png"), size="64x64")
        assert site.connections == 0
        assert estimate(client, image=site.url("/a.png"))["size"] == "96x32"
        assert site.connections == 1
        refused = ask(client, image="http://10.0.0.1/a.png")
        assert error(refused)[:3] == (400, "image_url_refused", "image")
    finally:
        site.close()


def test_a_form_is_read_like_that_of_a_video(client: FlaskClient) -> None:
    file = (io.BytesIO(png(300, 100)), "a.png")
    form = {"prompt": "a", "input_reference": file, "provider_options[video][steps]": "3"}
    made = client.post("/v1/videos/estimate", data=form, content_type="multipart/form-data").get_json()
    sized = client.post("/v1/videos/estimate", data={"prompt": "a", "image_size": "300x100"}).get_json()

    assert (made["size"], made["provider_options"]["video"]["steps"]) == ("96x32", 3)
    assert sized["size"] == "96x32"


BODIES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no prompt": ({"prompt": None}, 400, "missing_required_parameter", "prompt"),
    "a prompt of 9,000": ({"prompt": "a" * 9000}, 400, "limit_exceeded", "prompt"),
    "an unknown model": ({"model": "sora-2"}, 404, "model_not_found", "model"),
    "text for an image model": ({"model": "image"}, 400, "modality_mismatch", "input_reference"),
    "an image for a text model": ({"model": "text", "image_size": "64x64"}, 400, "modality_mismatch", "image_size"),
    "a last image alone": ({"model": "text", "last_image_size": "9x9"}, 400, "modality_mismatch", "last_image_size"),
    "too many steps": ({"steps": 61}, 400, "limit_exceeded", "steps"),
    "too large a size": ({"size": "1280x720"}, 400, "limit_exceeded", "size"),
    "a width alone": ({"width": 64}, 400, "invalid_value", "height"),
    "an unknown option": ({"provider_options": {"video": {"frames": 1}}}, 400, "unknown_parameter", "provider_options.video.frames"),
    "an image's size in words": ({"image_size": "large"}, 400, "invalid_value", "image_size"),
    "an image's size of one number": ({"image_size": 64}, 400, "invalid_value", "image_size"),
    "an image of no pixels": ({"image_size": "0x64"}, 400, "invalid_value", "image_size"),
    "an image of 81 megapixels": ({"image_size": BIG}, 400, "invalid_image", "image_size"),
    "such an image beside a size": ({"image_size": BIG, "size": "64x64"}, 400, "invalid_image", "image_size"),
    "such a last image": (
        {"model": "ends", "image_size": "64x64", "last_image_size": BIG, "size": "64x64"}, 400, "invalid_image", "last_image_size",
    ),
    "an image and another size": ({"image": data_url(png()), "image_size": "32x32"}, 400, "invalid_value", "image_size"),
    "a broken image that decides the size": ({"image": data_url(b"text")}, 400, "invalid_image", "image"),
    "one frame from an image": ({"model": "both", "image_size": "64x64", "num_frames": 1}, 400, "invalid_value", "num_frames"),
    "an adapter of no model": ({"adapters": ["noir"]}, 400, "invalid_value", "adapters"),
    "weights that are not there": ({"model": "far"}, 503, "model_unavailable", ""),
}  # fmt: skip


def test_a_bad_request_is_refused_by_name(client: FlaskClient, system: System, subtests: pytest.Subtests) -> None:
    for kind, (body, number, code, param) in BODIES.items():
        with subtests.test(kind=kind):
            assert error(ask(client, **body))[:3] == (number, code, param)
    assert system.jobs.newest() == 0


def test_the_same_words_refuse_the_estimate_and_the_video(client: FlaskClient) -> None:
    for body in ({"model": "image"}, {"steps": 61}, {"size": "8x8"}, {"prompt": " "}, {"model": "none"}):
        assert error(ask(client, **body)) == error(make(client, **body))


def test_random_bodies_are_refused_in_the_same_words(client: FlaskClient, system: System) -> None:
    random = Fuzzer(23, [])
    seen: Counter[int] = Counter()
    for _ in range(300):
        headers, body = random.video_body()
        answer = client.post("/v1/videos/estimate", data=body, headers=headers)
        assert system.jobs.page(LOCAL, after=None, limit=1, newest_first=True) == ()
        made = client.post("/v1/videos", data=body, headers=headers)
        if made.status_code == 200:
            client.delete(f"/v1/videos/{made.get_json()['id']}")
        assert (answer.status_code, answer.get_json().get("error")) == (
            made.status_code,
            made.get_json().get("error"),
        ), body
        seen[made.status_code] += 1

    assert seen[200] > 20
    assert seen[400] > 100
    assert leftovers(system) == []


@pytest.mark.parametrize("model", ["image", "both", "ends"])
def test_a_broken_image_is_refused_beside_a_size_too(client: FlaskClient, model: str) -> None:
    for image in (data_url(b"text"), data_url(png()[:20]), "data:,a", {"file_id": "a"}):
        body = {"model": model, "image": image, "last_image": data_url(png()), "size": "64x64"}
        if model != "ends":
            del body["last_image"]
        assert error(ask(client, **body)) == error(make(client, **body))


def test_a_draining_engine_loads_nothing(client: FlaskClient, system: System) -> None:
    engine = beat(system, id="e", resident=("text",), loads={"text": 7.0})
    system.engines.drain(engine.id, draining=True)

    assert estimate(client, model="text")["load_seconds"] is None


def test_an_unknown_field_is_a_warning_in_both(client: FlaskClient) -> None:
    assert estimate(client, colour="red")["warnings"] == ["not used, as nothing here has that name: colour"]
    assert make(client, image_size="3x3").get_json()["warnings"] == [
        "not used, as nothing here has that name: image_size"
    ]


def test_a_full_queue_is_refused(settings: Settings) -> None:
    client = create_app(assemble(replace(settings, max_queued=1))).test_client()
    assert make(client).status_code == 200
    answer = ask(client)

    assert error(answer)[:2] == (429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0


def test_a_spent_budget_is_refused_and_a_job_beyond_the_rest_too(client: FlaskClient, system: System) -> None:
    database = system.database
    OwnerStore(database).limit(LOCAL, Budgets(Budget(60, Window.DAY)))
    learn(system, seconds=WorkSeconds(text=1.0, steps=50.0, decode=1.0, encode=1.0))
    assert estimate(client)["expected_seconds"] == 53
    assert error(ask(client, steps=60))[1] == "insufficient_quota"
    book(database, f"{datetime.now(UTC):%Y-%m-%d}", 60.0, owner=LOCAL)

    answer = ask(client)
    assert error(answer)[:2] == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


def test_a_policy_sees_an_estimate_as_a_request(settings: Settings) -> None:
    class NoCats:
        @hookimpl
        def check_request(self, task: Task) -> None:
            if "cat" in task.prompt:
                raise Refused("no cats here")

    client = create_app(assemble(settings, plugins=[encoder, NoCats()])).test_client()

    assert error(ask(client, prompt="a cat"))[0] == 403
    assert ask(client, prompt="a dog").status_code == 200


def test_an_estimate_needs_a_key_that_may_generate(system: System) -> None:
    reader, maker = make_key(system, "reader", scopes=(Scope.READ,)), make_key(system, "maker")
    app = create_app(system)

    assert error(ask(app.test_client()))[0] == 401
    assert error(ask(client_of(app, reader)))[0] == 403
    assert ask(client_of(app, maker)).status_code == 200


def test_no_video_is_called_estimate(client: FlaskClient) -> None:
    assert error(client.get("/v1/videos/estimate"))[0] == 405
    assert error(client.delete("/v1/videos/estimate"))[0] == 405
