"""curl: the requests of a user, and what the terminal shows."""

import re
from pathlib import Path

import pytest
from clients.programs import SCRIPTS, STREAM, Seen, check_refusal, needs, report
from support.server import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def curl(server: Server, image: Path) -> Seen:
    needs("curl", "jq")
    return report(["bash", SCRIPTS / "curl.sh"], server, image)


def test_curl_makes_polls_streams_lists_and_deletes(curl: Seen) -> None:
    assert curl["created"] == {
        "model": "wan-nano-t2v", "part": "206 video/mp4", "file": "200 video/mp4", "head": "200 video/mp4",
    }  # fmt: skip
    assert curl["with_an_image"]["model"] == "wan-nano-i2v"
    assert re.fullmatch(r"/v1/videos/video_[0-9a-f]{32}/content", curl["with_an_image"]["text"])
    assert curl["polled"] == {"first": "queued", "last": "completed"}
    assert set(STREAM) - set(curl["streamed"]["types"]) <= {"response.queued"}
    assert curl["streamed"]["done"] is True
    assert curl["video"] == {
        "status": "completed", "size": "64x64", "seconds": "1", "file": "200 video/mp4", "thumbnail": "200 image/webp",
        "image_model": "wan-nano-i2v",
    }  # fmt: skip
    assert curl["listed"] == {"page": 2, "has_more": True}
    assert (curl["deleted"]["object"], curl["deleted"]["deleted"]) == ("video.deleted", True)


def test_curl_shows_why_a_request_was_refused(curl: Seen) -> None:
    refused = {**curl["refused"], "gone": curl["deleted"]["video"]}

    assert curl["fails"] == 22  # what `curl --fail` ends with
    assert len(refused) == 8
    for name, refusal in refused.items():
        check_refusal(name, refusal)
