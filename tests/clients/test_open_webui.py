"""Open WebUI's image engine `openai`, of the wheel without its database, log-in and storage."""

from pathlib import Path

import pytest
from clients.packages import python, release
from clients.programs import SCRIPTS, Seen, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]


@pytest.fixture(scope="module")
def images(server: Server, image: Path) -> Seen:
    return report([python("open-webui"), SCRIPTS / "open_webui_images.py"], server, image)


def test_open_webui_makes_and_edits_images(images: Seen) -> None:
    assert images["version"] == release("open-webui")
    assert {name: images[name]["files"] for name in ("generated", "edited", "edited_list", "by_url")} == {
        "generated": ["png", "png"], "edited": ["png"], "edited_list": ["png"], "by_url": ["png"],
    }  # fmt: skip
    asked = {"width": 48, "height": 32, "num_frames": 1, "steps": 3}
    assert {name: images["generated"]["options"][name] for name in asked} == asked
    assert images["by_url"]["options"]["seed"] == 7
    assert {images[name]["model"] for name in ("edited", "edited_list")} == {"wan-nano-i2v"}


def test_a_size_beyond_the_models_limit_is_fitted_for_open_webui(images: Seen) -> None:
    # 512x512 is what it asks for where nobody set a size, and its users cannot read a refusal
    seen = images["generated_too_large"]

    assert seen["files"] == ["png"]
    assert seen["options"]["width"] * seen["options"]["height"] <= 16384
    assert any("512x512" in warning for warning in seen["warnings"])


def test_open_webui_fails_where_a_request_was_refused(images: Seen) -> None:
    assert "BAD REQUEST" in images["refused"]["mismatch"]["message"].upper()
