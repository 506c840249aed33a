"""The videos show what was asked for: a few requests that training never saw, through the front door, measured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import data_url, with_image
from server import Server, frames

from nano.evaluate import Ask, held_out, score
from nano.measure import look

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xfail(reason="the family has had a quarter of its training: colours come, shapes and paths not yet"),
]

COUNT = 8


@pytest.mark.parametrize(
    ("model", "given"),
    [("wan-nano-t2v", False), ("wan-nano-ti2v", False), ("wan-nano-ti2v", True), ("wan-nano-i2v", True)],
)
def test_a_model_draws_what_it_is_asked_for(nano: Server, tmp_path: Path, model: str, given: bool) -> None:
    asked = held_out(COUNT, with_image=given)

    found = score(asked, [clip(nano, model, ask, tmp_path) for ask in asked])

    # one may be wrong here; `python -m nano.evaluate` tells how often over a hundred
    assert found["colour"] >= 1 - 1 / COUNT, found
    assert found["direction"] >= 1 - 1 / COUNT, found
    if given:
        assert found["kept"] >= 1 - 1 / COUNT, found
    else:
        assert found["shape"] >= 1 - 2 / COUNT, found


def test_a_larger_video_shows_it_too(nano: Server, tmp_path: Path) -> None:
    asked = held_out(3, with_image=False, side=96)

    found = score(asked, [clip(nano, "wan-nano", ask, tmp_path, width=96, height=96) for ask in asked])

    assert found["colour"] + found["direction"] >= 2 - 1 / 3, found


def test_a_negative_prompt_drives_its_colour_out(nano: Server, tmp_path: Path) -> None:
    ask = Ask("a circle moves to the right", held_out(1, with_image=False)[0].subject, seed=3)
    drawn = look(clip(nano, "wan-nano-t2v", ask, tmp_path)).colour
    other = look(clip(nano, "wan-nano-t2v", ask, tmp_path, negative_prompt=drawn)).colour

    assert drawn is not None
    assert other != drawn


def clip(server: Server, model: str, ask: Ask, folder: Path, **options: object) -> np.ndarray:
    said = ask.prompt if ask.image is None else with_image(ask.prompt, data_url(as_png(ask.image)))
    body = {"model": model, "input": said, "seed": ask.seed, "provider_options": {"video": options}}
    status, answer = server.call("/v1/responses", body)
    assert status == 200, answer
    return frames(server, answer, folder)


def as_png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
