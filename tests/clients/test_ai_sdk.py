"""Vercel's AI SDK 7 on Node 22: text, images, videos by a small provider."""

import shutil
from pathlib import Path

import pytest
from clients.packages import node
from clients.programs import NEEDS_INPUT, SCRIPTS, Seen, beside, ran, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]


@pytest.fixture(scope="module")
def ai(server: Server, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, client = tmp_path_factory.mktemp("ai"), node("ai")
    shutil.copy(SCRIPTS / "framegate_provider.mjs", folder)
    return report([client.command, beside(client, SCRIPTS / "ai_sdk.mjs", folder)], server, image)


def test_the_ai_sdk_gets_the_url_of_a_video_as_its_text(server: Server, ai: Seen) -> None:
    models = {"text": "wan-nano-t2v", "text_of_an_image": "wan-nano-i2v", "streamed": "slow"}
    assert {name: (ran(server, ai[name]["id"]).model, ai[name]["file"]) for name in models} == {
        name: (model, "mp4") for name, model in models.items()
    }


def test_the_ai_sdk_makes_videos_of_text_and_of_an_image(server: Server, ai: Seen) -> None:
    for name, model in {"video_of_text": "wan-nano-t2v", "video_of_an_image": "wan-nano-i2v"}.items():
        job = ran(server, ai[name]["id"])
        assert (ai[name]["file"], ai[name]["warnings"], job.model, job.warnings) == ("mp4", [], model, [])
        job.has(width=48, height=32, frames_per_second=4, num_frames=9, steps=3, seed=7)


def test_the_ai_sdk_makes_and_edits_images(server: Server, ai: Seen) -> None:
    assert (ai["image_of_text"]["files"], ai["image_of_an_image"]["files"]) == (["png", "png"], ["png"])
    for name, model in {"image_of_text": "wan-nano-t2v", "image_of_an_image": "wan-nano-i2v"}.items():
        job = ran(server, ai[name]["id"])
        assert job.model == model
        job.has(num_frames=1, width=48, height=32, steps=3)


def test_the_ai_sdk_says_why_a_request_was_refused(ai: Seen) -> None:
    refused = ai["refused"]

    for name in ("text", "video", "image"):
        assert (refused[name]["status_code"], NEEDS_INPUT in refused[name]["message"]) == (400, True)
    assert refused["limit"]["message"] == "wan-nano-t2v takes at most 60 steps, got 61"
    assert "the video could not be generated" in refused["failed"]["message"]
    assert (refused["chat"]["status_code"], "POST /v1/responses" in refused["chat"]["message"]) == (404, True)
