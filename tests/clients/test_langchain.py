"""LangChain's chat model: a video's URL as its text."""

from pathlib import Path

import pytest
from clients.packages import python, release
from clients.programs import SCRIPTS, Seen, check_refusal, ran, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]


@pytest.fixture(scope="module")
def langchain(server: Server, image: Path) -> Seen:
    return report([python("langchain"), SCRIPTS / "langchain_chat.py"], server, image)


def test_langchain_gets_the_url_of_a_video_as_its_text(langchain: Seen) -> None:
    assert langchain["version"] == release("langchain")
    assert langchain["created"] == {"model": "wan-nano-t2v", "content": ["text"], "file": "mp4"}
    assert langchain["with_an_image"] == {"model": "wan-nano-i2v", "file": "mp4"}
    assert langchain["streamed"] == {"chunks_with_text": 1, "file": "mp4"}
    assert langchain["with_options"] == {"content": [], "file": "mp4"}
    assert langchain["listed"] == {"page": 2, "has_more": True}


def test_langchain_sets_options_and_reads_text(server: Server, langchain: Seen) -> None:
    seen = langchain["with_text"]

    assert (seen["file"], seen["streamed"]) == ("mp4", "mp4")
    job = ran(server, seen["id"])
    assert job.model == "wan-nano-i2v"
    job.has(steps=3, num_frames=9, seed=7)


def test_langchain_gets_a_tool_call_and_comes_back_for_the_video(langchain: Seen) -> None:
    assert langchain["called"] == {
        "auto": ["look", {"place": "the sea"}], "named": ["look"], "streamed": '{"place": "the sea"}', "after": "mp4",
    }  # fmt: skip


def test_langchain_tells_of_a_job_that_failed(langchain: Seen) -> None:
    failed = langchain["failed"]

    assert (failed["waited"]["class"], failed["waited"]["code"]) == ("OpenAIAPIError", "generation_failed")
    assert failed["streamed"]["class"] == "ValueError"  # all that LangChain makes of `response.failed`
    assert "generation_failed" in failed["streamed"]["message"]


def test_langchain_says_why_a_request_was_refused(langchain: Seen) -> None:
    refused = {**langchain["refused"], "gone": langchain["deleted"]["response"]}

    assert len(refused) == 7
    for name, refusal in refused.items():
        check_refusal(name, refusal)
    assert refused["mismatch"]["class"] == "OpenAIInvalidRequestError"
    assert refused["no_model"]["class"] == "OpenAIModelNotFoundError"
