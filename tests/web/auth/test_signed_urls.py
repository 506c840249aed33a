"""Signed links open one file without a key, for a limited time."""

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.callers import client_of
from support.patience import until

from router.auth.signed_urls import SignedUrls, secret_in
from router.engine.worker import Worker
from router.errors import Refused
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

PATH = f"/v1/videos/video_{'0' * 32}/content"


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def links(tmp_path: Path) -> Callable[..., SignedUrls]:
    return lambda seconds=60.0, needed=True, name="secret": SignedUrls(
        lambda: secret_in(tmp_path / name), seconds=seconds, needed=lambda: needed
    )


def parsed(links: SignedUrls, link: str) -> tuple[str, dict[str, str]]:
    path, _, query = link.partition("?")
    return path, dict(pair.split("=") for pair in query.split("&"))


def part_of_answer(client: FlaskClient, **body: Any) -> dict[str, Any]:
    part: dict[str, Any] = client.post("/v1/responses", json={"model": "text", "input": "a", **body}).get_json()[
        "output"
    ][0]["content"][0]
    return part


def test_a_link_opens_the_path_that_it_was_made_for(links: Callable[..., SignedUrls]) -> None:
    path, query = parsed(links(), links().sign(PATH))

    assert path == PATH
    assert links().opens(path, query)
    for other in (PATH + "/", PATH.replace("0", "1"), PATH.replace("videos/video", "images/image"), "", "/v1/videos"):
        assert not links().opens(other, query)


@pytest.mark.parametrize(
    "change",
    [
        lambda query: {**query, "expires": str(int(query["expires"]) + 1)},
        lambda query: {**query, "expires": "0" + query["expires"]},
        lambda query: {**query, "expires": "9" * 12},
        lambda query: {**query, "expires": "9" * 5000},
        lambda query: {**query, "expires": "-1"},
        lambda query: {**query, "expires": "٣"},
        lambda query: {**query, "expires": ""},
        lambda query: {**query, "signature": ""},
        lambda query: {**query, "signature": query["signature"][:-1]},
        lambda query: {**query, "signature": query["signature"] + "0"},
        lambda query: {**query, "signature": query["signature"].upper()},
        lambda query: {**query, "signature": "é\ud800" * 32},
        lambda query: {"expires": query["expires"]},
        lambda query: {"signature": query["signature"]},
        lambda query: {},
    ],
)
def test_a_link_that_was_changed_opens_nothing(
    links: Callable[..., SignedUrls], change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    path, query = parsed(links(), links().sign(PATH))

    assert not links().opens(path, change(query))


def test_a_link_expires_and_says_so_to_whoever_has_it(links: Callable[..., SignedUrls]) -> None:
    path, query = parsed(links(), links(seconds=-1).sign(PATH))

    with pytest.raises(Refused, match="this link has expired"):
        links().opens(path, query)
    assert not links().opens(path, {**query, "signature": "0" * 64})


def test_another_folder_s_links_open_nothing(links: Callable[..., SignedUrls]) -> None:
    path, query = parsed(links(), links().sign(PATH))

    assert not links(name="another").opens(path, query)


def test_the_secret_is_made_once_and_is_for_this_user_only(links: Callable[..., SignedUrls], tmp_path: Path) -> None:
    first = links().sign(PATH)
    secret = tmp_path / "secret"

    assert links().opens(*parsed(links(), first))
    assert len(secret.read_bytes()) == 32
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "secret" in path.name] == ["secret"]


def test_where_nobody_needs_a_key_a_path_stays_as_it_is(links: Callable[..., SignedUrls], tmp_path: Path) -> None:
    assert links(needed=False).sign(PATH) == PATH
    assert not (tmp_path / "secret").exists()


def test_an_answer_s_link_opens_its_video(keyed: FlaskClient, stranger: FlaskClient, worker: Worker) -> None:
    url = part_of_answer(keyed, provider_options={"video": {}})["video_url"]
    whole, part, head = stranger.get(url), stranger.get(url, headers={"Range": "bytes=0-9"}), stranger.head(url)

    assert (whole.status_code, whole.mimetype) == (200, "video/mp4")
    assert (part.status_code, part.data) == (206, whole.data[:10])
    assert (head.status_code, head.data, head.headers["etag"]) == (200, b"", whole.headers["etag"])
    assert stranger.get(url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304
    assert stranger.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416
    for variant in ("thumbnail", "spritesheet", "last_frame"):
        assert stranger.get(f"{url}&variant={variant}").status_code == 200
    assert stranger.get(f"{url}&variant=nonsense").status_code == 400


def test_an_image_and_a_text_part_have_links_too(keyed: FlaskClient, stranger: FlaskClient, worker: Worker) -> None:
    image, text = (
        part_of_answer(keyed, provider_options={"image": {"response_format": "url"}})["image_url"],
        part_of_answer(keyed),
    )

    assert stranger.get(image).mimetype == "image/png"
    assert text["text"] == text["video_url"]
    assert stranger.get(text["text"]).mimetype == "video/mp4"


def test_a_stream_s_links_open_too(keyed: FlaskClient, stranger: FlaskClient, worker: Worker) -> None:
    from support.sse import parse

    events = parse(keyed.post("/v1/responses", json={"model": "text", "input": "a", "stream": True}).data)
    url = events[-1]["response"]["output"][0]["content"][0]["video_url"]

    assert stranger.get(url).status_code == 200


def test_a_link_opens_nothing_else(keyed: FlaskClient, stranger: FlaskClient, worker: Worker) -> None:
    url, other = part_of_answer(keyed)["video_url"], part_of_answer(keyed)["video_url"]
    path, query = url.split("?")
    video = path.removesuffix("/content")

    assert stranger.get(f"{other.partition('?')[0]}?{query}").status_code == 403
    for near in (
        video,
        f"{path}/",
        path.replace("/content", "/%63ontent/"),
        video.replace("videos/video", "responses/resp"),
        "/v1/videos",
    ):
        assert stranger.get(f"{near}?{query}").status_code == 403
    for method in ("DELETE", "POST", "PUT"):
        assert stranger.open(url, method=method).status_code in (401, 403)
        assert stranger.open(f"{video}?{query}", method=method).status_code in (401, 403)
    assert keyed.get(video).status_code == 200


def test_a_link_that_is_wrong_says_what_to_do(stranger: FlaskClient, keyed: FlaskClient) -> None:
    answer = stranger.get(f"{PATH}?expires=9999999999&signature={'0' * 64}")

    assert answer.status_code == 403
    assert answer.get_json()["error"]["code"] == "refused"
    assert "GET the response again" in answer.get_json()["error"]["message"]
    assert keyed.get(f"{PATH}?expires=9999999999&signature={'0' * 64}").status_code == 404  # a key opens it as ever


def test_a_link_lives_until_it_expires_or_its_job_is_gone(
    system: System, settings: Settings, text: str, worker: Worker
) -> None:
    brief = create_app(assemble(replace(settings, link_seconds=1.0)))
    keyed, stranger = client_of(brief, text), brief.test_client()
    url = part_of_answer(keyed)["video_url"]
    until(lambda: stranger.get(url).status_code != 200)  # on a slow machine it has expired before it is tried
    answer = stranger.get(url)
    assert (answer.status_code, "expired" in answer.text) == (403, True)

    lasting = create_app(system)
    job = url.partition("video_")[2][:32]
    fresh = client_of(lasting, text).get(f"/v1/responses/resp_{job}").get_json()["output"][0]["content"][0]["video_url"]
    assert lasting.test_client().get(fresh).status_code == 200
    client_of(lasting, text).delete(f"/v1/videos/video_{job}")
    assert lasting.test_client().get(fresh).status_code == 404


def test_a_link_works_beside_another_authorization(keyed: FlaskClient, stranger: FlaskClient, worker: Worker) -> None:
    url = part_of_answer(keyed)["video_url"]

    assert stranger.get(url, headers={"Authorization": "Basic dTpw"}).status_code == 200  # a proxy's own


def test_links_outlive_the_key_that_got_them_and_a_restart(system: System, keyed: FlaskClient, worker: Worker) -> None:
    url = part_of_answer(keyed)["video_url"]
    system.keys.revoke("team")

    assert create_app(assemble(system.settings)).test_client().get(url).status_code == 200


def test_a_public_url_stands_before_the_link(system: System, text: str, worker: Worker) -> None:
    public = replace(system, settings=replace(system.settings, public_url="https://video.example.org/"))
    app = create_app(public)
    url = part_of_answer(client_of(app, text))["video_url"]

    assert url.startswith("https://video.example.org/v1/videos/video_")
    assert app.test_client().get(url.removeprefix("https://video.example.org")).status_code == 200


def test_without_keys_an_answer_s_path_is_bare(system: System, worker: Worker) -> None:
    client = create_app(system).test_client()
    url = part_of_answer(client)["video_url"]

    assert "?" not in url
    assert client.get(f"{url}?expires=1&signature=x").status_code == 200
