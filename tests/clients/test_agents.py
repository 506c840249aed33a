"""Frameworks of agents that read text alone: the Agents SDK and Pydantic AI."""

from pathlib import Path

import pytest
from clients.packages import python, release
from clients.programs import REFUSALS, SCRIPTS, Seen, ran, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]
OPTIONS = {"steps": 3, "num_frames": 9, "seed": 7}


@pytest.fixture(scope="module")
def agents(server: Server, image: Path) -> Seen:
    return report([python("openai-agents"), SCRIPTS / "openai_agents.py"], server, image)


@pytest.fixture(scope="module")
def pydantic_ai(server: Server, image: Path) -> Seen:
    return report([python("pydantic-ai"), SCRIPTS / "pydantic_ai_agent.py"], server, image)


def test_the_agents_sdk_ends_with_a_videos_url(server: Server, agents: Seen) -> None:
    assert agents["version"] == release("openai-agents")
    for name, model in {"with_options": "wan-nano-t2v", "with_an_image": "wan-nano-i2v", "streamed": "slow"}.items():
        (identifier,) = agents[name]["ids"]
        job = ran(server, identifier)
        assert (job.model, agents[name]["file"]) == (model, "mp4")
        job.has(**OPTIONS)


def test_the_agents_sdk_calls_a_tool_and_comes_back_for_the_video(agents: Seen) -> None:
    called = agents["called"]

    assert agents["created"]["file"] == "mp4"
    assert (called["calls"], called["file"], len(called["ids"])) == ([["look", {"place": "the sea"}]], "mp4", 2)


def test_pydantic_ai_ends_with_a_videos_url(server: Server, pydantic_ai: Seen) -> None:
    assert pydantic_ai["version"] == release("pydantic-ai")
    for name, model in {"with_options": "wan-nano-t2v", "with_an_image": "wan-nano-i2v", "streamed": "slow"}.items():
        job = ran(server, pydantic_ai[name]["id"])
        assert (job.model, pydantic_ai[name]["file"]) == (model, "mp4")
        job.has(**OPTIONS)


def test_pydantic_ai_calls_a_tool_and_comes_back_for_the_video(pydantic_ai: Seen) -> None:
    assert pydantic_ai["created"]["file"] == "mp4"
    assert (pydantic_ai["called"]["places"], pydantic_ai["called"]["file"]) == (["the sea"], "mp4")


def test_an_agent_says_why_a_request_was_refused(agents: Seen, pydantic_ai: Seen) -> None:
    for seen in (agents["refused"], pydantic_ai["refused"]):
        assert set(seen) == {"mismatch", "mismatch_image", "limit", "no_model"}
        for name, refusal in seen.items():
            _, status, code, _, message = REFUSALS[name]
            assert refusal["status_code"] == status
            assert (code in refusal["message"] or refusal["code"] == code, message in refusal["message"]) == (
                True,
                True,
            )
