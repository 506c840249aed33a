"""OpenAI's own packages for Python and Node; all but one with `--all`."""

from pathlib import Path

import pytest
from clients.packages import node, python, release
from clients.programs import REFUSALS, SCRIPTS, STREAM, Seen, beside, check_refusal, ran, report
from support.server import Server

pytestmark = pytest.mark.slow
storm = pytest.mark.storm


@pytest.fixture(
    scope="module",
    params=["openai 3", *(pytest.param(client, marks=storm) for client in ("openai 2", "openai 6", "openai 7"))],
)
def sdk(
    request: pytest.FixtureRequest, server: Server, image: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Seen]:
    """Return the expected version of one of OpenAI's packages, and its report."""
    client = request.param
    if client in ("openai 6", "openai 7"):
        one = node(client)
        script = beside(one, SCRIPTS / "openai_node.mjs", tmp_path_factory.mktemp("node"))
        return release(client), report([one.command, script], server, image)
    return release(client), report([python(client), SCRIPTS / "openai_python.py"], server, image)


def test_the_sdk_makes_videos_of_text_and_of_an_image(sdk: tuple[str, Seen]) -> None:
    version, seen = sdk

    assert seen["version"] == version
    assert seen["created"] == {
        "model": "wan-nano-t2v", "part": "output_video", "output_text": "", "file": "mp4", "request_id": True,
    }  # fmt: skip
    assert seen["with_an_image"] == {"model": "wan-nano-i2v", "file": "mp4"}
    assert seen["called"] == {"type": "function_call", "name": "look"}


def test_the_sdk_sets_options_and_reads_text(server: Server, sdk: tuple[str, Seen]) -> None:
    seen = sdk[1]["with_text"]

    assert seen["parts"] == ["output_video", "output_text"]
    assert (seen["file"], seen["streamed"]) == ("mp4", "mp4")
    ran(server, seen["id"]).has(steps=3, num_frames=9, seed=7)


def test_the_sdk_makes_and_edits_images(server: Server, sdk: tuple[str, Seen]) -> None:
    seen = sdk[1]["images"]
    made, edited = (ran(server, identifier) for identifier in seen["ids"])

    assert (seen["many"], seen["link"]) == (["png", "png"], ["png"])
    assert (seen["jpeg"], seen["edited"]) == (["jpeg"], ["png", "png"])
    assert (made.model, edited.model) == ("wan-nano-t2v", "wan-nano-i2v")
    for job in (made, edited):
        job.has(num_frames=1, width=48, height=32, steps=3, seed=7)


def test_the_sdks_flat_options_of_a_video_are_honoured(server: Server, sdk: tuple[str, Seen]) -> None:
    job = ran(server, sdk[1]["flat"]["id"])

    job.has(steps=3, num_frames=9, negative_prompt="blur", seed=7)
    assert job.warnings == []


def test_the_sdk_polls_streams_resumes_and_cancels(sdk: tuple[str, Seen]) -> None:
    _, seen = sdk
    polled, streamed = seen["polled"], seen["streamed"]

    assert (polled["first"], polled["last"], polled["prompt"]) == ("queued", "completed", "a red ball")
    assert polled["polls"] > 2
    assert [kind for kind in STREAM if kind in streamed["types"]] == streamed["types"]
    assert set(STREAM) - set(streamed["types"]) <= {"response.queued"}  # a job may start before anybody looks
    assert streamed["progress"] == sorted(streamed["progress"])
    assert streamed["progress"][-1] > 50
    assert (streamed["last"], streamed["file"]) == ("completed", "mp4")
    assert seen["resumed"] == {"in_order": True, "last": "response.completed"}
    assert seen["cancelled"] == {"status": "cancelled", "again": "cancelled"}


def test_the_sdk_uses_the_videos_api(server: Server, sdk: tuple[str, Seen]) -> None:
    _, seen = sdk
    listed = seen["listed"]
    made, from_image = (ran(server, identifier) for identifier in seen["video"]["ids"])
    video = {name: value for name, value in seen["video"].items() if name != "ids"}

    made.has(steps=3, width=64, height=64, num_frames=9)
    from_image.has(steps=3, seed=7)
    assert video == {
        "status": "completed", "size": "64x64", "seconds": "1", "file": "mp4", "thumbnail": "webp",
        "remixed": True, "image_model": "wan-nano-i2v",
    }  # fmt: skip
    assert (listed["page"], listed["has_more"]) == (2, True)
    assert listed["all"] == listed["unique"] > 8
    assert seen["models"] == {
        "ids": ["broken", "slow", "wan-nano", "wan-nano-i2v", "wan-nano-t2v"], "alias": "wan-nano-t2v", "modality": "t2v",
    }  # fmt: skip


def test_the_sdk_deletes_for_good(sdk: tuple[str, Seen]) -> None:
    deleted = sdk[1]["deleted"]

    assert (deleted["deleted"], deleted["object"]) == (True, "video.deleted")
    for name in ("video", "content", "response"):
        check_refusal("gone", deleted[name])


def test_the_sdk_tells_of_a_job_that_failed(sdk: tuple[str, Seen]) -> None:
    failed = sdk[1]["failed"]

    check_refusal("failed", failed["waited"])
    assert failed["streamed"] == ["response.failed", "generation_failed"]
    assert failed["polled"] == ["failed", "generation_failed"]


def test_the_sdk_says_why_a_request_was_refused(sdk: tuple[str, Seen]) -> None:
    version, seen = sdk
    refused = seen["refused"]

    assert len(refused) == 10
    for name, refusal in refused.items():
        check_refusal(name, refusal)
    if version[0] == "3":  # the whole of what is printed
        assert refused["limit"]["message"] == f"Error code: 400 - {REFUSALS['limit'][-1]}"
    if version[0] in "67":  # of Node
        assert refused["limit"]["message"] == f"400 {REFUSALS['limit'][-1]}"
