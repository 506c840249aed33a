"""Images by URL: gate and limits first; the job keeps what was fetched."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import data_url, leftovers, png, stored, with_image
from flask.testing import FlaskClient
from support.patience import until
from support.website import Website, redirect, status

from router import Task, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.errors import Refused
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app
from router.web.videos.form import MULTIPART

FIRST = "input[0].content[0].image_url"


@pytest.fixture
def site() -> Iterator[Website]:
    website = Website()
    website.answers["/cat.png"] = status(200, body=png())
    yield website
    website.close()


@pytest.fixture
def settings(settings: Settings, site: Website) -> Settings:
    return replace(settings, image_hosts=(f"127.0.0.1:{site.port}",))


def made(client: FlaskClient, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a video in the background and return its finished response."""
    return finished(client, client.post("/v1/responses", json={**body, "background": True}).get_json())


def finished(client: FlaskClient, now: dict[str, Any]) -> dict[str, Any]:
    def seen() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/v1/responses/{now['id']}").get_json()
        return found if found["status"] not in ("queued", "in_progress") else None

    return until(seen)


def video(**options: Any) -> dict[str, Any]:
    return {"provider_options": {"video": options}}


def test_an_image_is_fetched_once_and_stays_with_the_job(
    client: FlaskClient, system: System, site: Website, request: pytest.FixtureRequest
) -> None:
    site.answers["/hop"] = redirect("/cat.png")
    body = {"model": "image", "input": with_image("a", site.url("/hop")), "background": True}
    answer = client.post("/v1/responses", json=body).get_json()
    site.close()

    assert [path.read_bytes() for path in leftovers(system)] == [png()]
    request.getfixturevalue("worker")
    assert finished(client, answer)["status"] == "completed"
    assert site.connections == 2


@pytest.mark.parametrize("form", ["string", "object"])
def test_first_and_last_image_may_be_urls(client: FlaskClient, worker: Worker, site: Website, form: str) -> None:
    site.answers["/last.png"] = status(200, body=png(32, 32))
    last: object = site.url("/last.png") if form == "string" else {"url": site.url("/last.png")}
    body = {"model": "ends", "input": with_image("a", site.url("/cat.png")), **video(last_image=last)}

    assert made(client, body)["status"] == "completed"
    assert site.connections == 2


def test_the_size_follows_the_image_that_was_fetched(client: FlaskClient, worker: Worker, site: Website) -> None:
    site.answers["/wide.png"] = status(200, body=png(128, 32))
    body = {"model": "image", "input": with_image("a", site.url("/wide.png"))}
    part = made(client, body)["output"][0]["content"][0]

    assert part["width"] > part["height"]


def refused_first(url: str) -> dict[str, tuple[dict[str, Any], str]]:
    """Return requests that are refused with any image, and the codes."""
    one = with_image("a", url)
    return {
        "an image for a text model": ({"model": "text", "input": one}, "modality_mismatch"),
        "two images for one": (
            {"model": "image", "input": with_image("a", url, url)},
            "modality_mismatch",
        ),
        "a last image for a text model": (
            {"model": "text", "input": "a", **video(last_image=url)},
            "modality_mismatch",
        ),
        "a last image alone": (
            {"model": "ends", "input": "a", **video(last_image=url)},
            "modality_mismatch",
        ),
        "too many frames": ({"model": "image", "input": one, **video(num_frames=99)}, "limit_exceeded"),
        "too many pixels": ({"model": "image", "input": one, **video(width=256, height=128)}, "limit_exceeded"),
        "too many steps": ({"model": "image", "input": one, **video(steps=61)}, "limit_exceeded"),
        "a long prompt": (
            {"model": "image", "input": with_image("a" * 100_000, url)},
            "limit_exceeded",
        ),
        "an unknown option": ({"model": "image", "input": one, **video(frames=5)}, "unknown_parameter"),
        "no text": ({"model": "image", "input": with_image("", url)}, "missing_required_parameter"),
        "an unknown model": ({"model": "nobody", "input": one}, "model_not_found"),
        "an image of the assistant's": (
            {"input": [{**one[0], "role": "assistant"}, {"role": "system", "content": one[0]["content"]}]},
            "invalid_value",
        ),
    }


@pytest.mark.parametrize("case", refused_first("").keys())
def test_what_is_refused_anyway_never_causes_a_connection(client: FlaskClient, site: Website, case: str) -> None:
    body, code = refused_first(site.url("/cat.png"))[case]
    answer = client.post("/v1/responses", json=body)

    assert answer.get_json()["error"]["code"] == code
    assert site.connections == 0


def test_a_policy_comes_before_any_connection_where_the_size_is_known(settings: Settings, site: Website) -> None:
    class Policy:
        @hookimpl
        def check_request(self) -> None:
            raise Refused("not on Sundays")

    client = create_app(assemble(settings, plugins=[encoder, Policy()])).test_client()
    body = {"model": "image", "input": with_image("a", site.url("/cat.png"))}
    sized = {**body, "provider_options": {"video": {"width": 64, "height": 64}}}

    assert (client.post("/v1/responses", json=sized).status_code, site.connections) == (403, 0)
    # without a size the image has it, and the policy is to see it
    assert (client.post("/v1/responses", json=body).status_code, site.connections) == (403, 1)


def test_a_policy_sees_the_size_of_the_image_that_was_fetched(settings: Settings, site: Website) -> None:
    seen = []

    class Policy:
        @hookimpl
        def check_request(self, task: Task) -> None:
            seen.append((task.width, task.height, site.connections))

    system = assemble(settings, plugins=[encoder, Policy()])
    site.answers["/wide.png"] = status(200, body=png(128, 64))
    body = {"model": "image", "input": with_image("a", site.url("/wide.png")), "background": True}
    answer = create_app(system).test_client().post("/v1/responses", json=body)
    task = stored(system, answer).task

    assert seen == [(task.width, task.height, 1)] == [(80, 32, 1)]


def test_a_full_queue_comes_before_any_connection(settings: Settings, site: Website) -> None:
    client = create_app(assemble(replace(settings, max_queued=1), plugins=[encoder])).test_client()
    client.post("/v1/responses", json={"model": "text", "input": "a", "background": True})
    answer = client.post("/v1/responses", json={"model": "image", "input": with_image("a", site.url("/cat.png"))})

    assert (answer.get_json()["error"]["code"], site.connections) == ("queue_full", 0)


ANSWERS = {
    "text": (status(200, body=b"a secret page"), "invalid_image"),
    "half a picture": (status(200, body=png()[:90]), "invalid_image"),
    "a picture and not found": (status(404, body=png()), "invalid_image"),
    "nothing": (status(200), "invalid_image"),
    "a redirect inside": (redirect("http://10.0.0.1/cat.png"), "image_url_refused"),
    "a redirect to a file": (redirect("file:///etc/passwd"), "image_url_refused"),
    "a redirect to a data URL": (redirect(data_url(png())), "image_url_refused"),
}


@pytest.mark.parametrize(("response", "code"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_is_no_image_is_refused_by_field_and_leaves_nothing(
    client: FlaskClient, system: System, site: Website, response: bytes, code: str
) -> None:
    site.answers["/a"] = response
    inputs = {
        FIRST: {"model": "image", "input": with_image("a", site.url("/a"))},
        "provider_options.video.last_image": {
            "model": "ends", "input": with_image("a", data_url(png())), **video(last_image=site.url("/a")),
        },
    }  # fmt: skip
    for param, body in inputs.items():
        answer = client.post("/v1/responses", json=body)
        error = answer.get_json()["error"]

        assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
        assert "secret" not in error["message"]
    assert system.jobs.newest() == 0
    assert leftovers(system) == []


INSIDE = (
    "http://localhost/a.png",
    "http://localhost./a.png",
    "http://127.0.0.1/a.png",
    "http://127.1/a.png",
    "http://2130706433/a.png",
    "http://0177.0.0.1/a.png",
    "http://0x7f.0.0.1/a.png",
    "http://0x7f000001/a.png",
    "http://0/a.png",
    "http://１２７.0.0.1/a.png",
    "http://127。0。0。1/a.png",
    "http://10.0.0.1/a.png",
    "http://169.254.169.254/a.png",
    "https://[::1]/a.png",
    "http://[::ffff:127.0.0.1]/a.png",
    "http://[::ffff:7f00:1]/a.png",
    "http://[64:ff9b::7f00:1]/a.png",
    "http://[fd00:ec2::254]/a.png",
    "http://[fe80::1%25eth0]/a.png",
    "http://example.org@127.0.0.1/a.png",
    "http://example.org:80@127.0.0.1/a.png",
    "http://127.0.0.1#@example.org/a.png",
    "http://127.0.0.1\\@example.org/a.png",
    "http://example.org%2f@127.0.0.1/a.png",
    "http://127.0.0.1:1/a.png",
    "ftp://example.org/a.png",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
)


@pytest.mark.parametrize("url", INSIDE)
def test_a_url_that_leads_inside_is_refused(client: FlaskClient, system: System, url: str) -> None:
    """At every field that takes an image's URL."""
    ends = {"model": "ends", "input": with_image("a", data_url(png()))}
    form = {"model": "image", "prompt": "a", "input_reference[image_url]": url}
    doors: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (FIRST, "/v1/responses", {"json": {"model": "image", "input": with_image("a", url)}}),
        ("provider_options.video.last_image", "/v1/responses", {"json": {**ends, **video(last_image=url)}}),
        ("input_reference", "/v1/videos", {"json": {"model": "image", "prompt": "a", "input_reference": url}}),
        ("input_reference", "/v1/videos", {"data": form, "content_type": MULTIPART}),
    )
    for param, path, sent in doors:
        answer = client.post(path, **sent)
        error = answer.get_json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "image_url_refused", param)
    assert system.jobs.newest() == 0
    assert leftovers(system) == []


def test_fetching_can_be_switched_off(settings: Settings, site: Website) -> None:
    off = replace(settings, image_hosts=(), image_public=False)
    client = create_app(assemble(off, plugins=[encoder])).test_client()
    answer = client.post("/v1/responses", json={"model": "image", "input": with_image("a", site.url("/cat.png"))})

    error = answer.get_json()["error"]
    assert (error["code"], site.connections) == ("image_url_refused", 0)
    assert "as a data: URL: this server fetches none" in error["message"]
