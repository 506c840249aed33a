"""LiteLLM: videos, responses and images."""

import json
from pathlib import Path

import pytest
from clients.packages import python, release
from clients.programs import REFUSALS, SCRIPTS, Seen, ran, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]


@pytest.fixture(scope="module")
def litellm(server: Server, image: Path) -> Seen:
    return report([python("litellm"), SCRIPTS / "litellm_video.py"], server, image)


def test_litellm_makes_downloads_lists_and_remixes_videos(server: Server, litellm: Seen) -> None:
    assert litellm["version"] == release("litellm")
    made, from_image = (ran(server, identifier) for identifier in litellm["video"]["ids"])
    video = {name: value for name, value in litellm["video"].items() if name != "ids"}
    made.has(steps=3, width=64, height=64, num_frames=9)
    from_image.has(steps=3, num_frames=9, seed=7)
    assert video == {
        "status": "completed", "size": "64x64", "seconds": "1", "file": "mp4", "thumbnail": "webp",
        "remixed": True, "image_model": "wan-nano-i2v",
    }  # fmt: skip
    assert litellm["listed"] == {"page": 2, "has_more": True}
    assert litellm["created"] == {"model": "wan-nano-t2v", "file": "mp4", "file_of_options": "mp4"}
    assert litellm["failed"] == {"status": "failed", "code": "generation_failed"}
    assert litellm["streamed"] == {"last": "response.completed", "file": "mp4"}


def test_litellm_sets_options_and_reads_text(server: Server, litellm: Seen) -> None:
    seen = litellm["with_text"]

    assert seen["file"] == "mp4"
    ran(server, seen["id"]).has(steps=3, num_frames=9, seed=7)


def test_litellm_makes_and_edits_images(server: Server, litellm: Seen) -> None:
    seen = litellm["images"]

    assert (seen["many"], seen["edited"]) == (["png", "png"], ["png"])
    ran(server, seen["id"]).has(num_frames=1, width=48, height=32, steps=3, seed=7)


def test_litellm_says_why_a_request_was_refused(litellm: Seen) -> None:
    assert litellm["deleted"]["deleted"] is True
    refused = {**litellm["refused"], "gone": litellm["deleted"]["video"]}

    assert len(refused) == 8
    for name, refusal in refused.items():
        kind, status, code, param, message = REFUSALS[name]
        envelope = json.loads(refusal["message"].partition(" - ")[2])["error"]  # it has no `code` of its own
        assert refusal["class"] == kind
        assert (refusal["status_code"], envelope["code"], envelope["param"]) == (status, code, param)
        assert message in envelope["message"]
