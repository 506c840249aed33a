"""vLLM-Omni's load client of `vllm bench serve --omni`, of the wheel without vLLM."""

from pathlib import Path

import pytest
from clients.packages import python, release
from clients.programs import SCRIPTS, Seen, ran, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]

SIZE = {"width": 48, "height": 32, "steps": 3, "guidance_scale": 4.5, "negative_prompt": "blur", "seed": 7}


@pytest.fixture(scope="module")
def omni(server: Server, image: Path) -> Seen:
    return report([python("vllm-omni"), SCRIPTS / "vllm_omni_load.py"], server, image)


def test_vllm_omni_measures_the_videos_that_it_asked_for(server: Server, omni: Seen) -> None:
    assert omni["version"] == release("vllm-omni")
    for name, model in {"text_to_video": "t2v", "url_to_video": "i2v", "path_to_video": "i2v"}.items():
        measured = omni[name]
        job = ran(server, measured["id"])
        assert (measured["success"], measured["error"]) == (True, "")
        assert (measured["video_frames"], measured["video_duration"], measured["generation_time"]) == (9, 2.25, True)
        assert (job.model, job.warnings) == (f"wan-nano-{model}", [])
        job.has(**SIZE, num_frames=9, frames_per_second=4)


def test_vllm_omni_measures_the_images_that_it_asked_for(server: Server, omni: Seen) -> None:
    made, edited = omni["image"], omni["edited_file"]

    assert (made["success"], made["error"], made["image_count"], made["image_pixels"]) == (True, "", 1, 48 * 32)
    assert (edited["success"], edited["error"], edited["image_count"]) == (True, "", 1)
    assert ran(server, edited["id"]).model == "wan-nano-i2v"
    ran(server, made["id"]).has(**SIZE, num_frames=1)


def test_vllm_omni_edits_an_image_by_its_url(server: Server, omni: Seen) -> None:
    measured = omni["edited_url"]

    assert (measured["success"], measured["error"], measured["image_count"]) == (True, "", 1)
    ran(server, measured["id"]).has(**SIZE, num_frames=1)


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("mismatch", 400, "wan-nano-i2v is image-to-video: it needs an image, got text only"),
        ("steps", 400, "num_inference_steps must be an integer from 1"),
        ("guidance", 400, "guidance_scale must be a number from 0 to 20, got 25"),
        ("limit", 400, "wan-nano-t2v takes at most 60 steps, got 61"),
        ("video", 400, "video_reference"),
        ("lora", 400, "wan-nano-t2v has no adapter 'lightning': it has "),
        ("no_model", 404, "no model is called 'nobody'"),
        ("image_limit", 400, "wan-nano-t2v takes at most 60 steps, got 61"),
    ],
)
def test_vllm_omni_shows_why_a_request_was_refused(omni: Seen, name: str, status: int, message: str) -> None:
    refused = omni["refused"][name]

    assert refused["success"] is False
    assert refused["error"].startswith(f"HTTP {status}: ")
    assert message in refused["error"]
