"""Videos show their prompts: requests unseen in training, over HTTP, measured."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import data_url, with_image
from support.server import Server, frames

from nano.evaluate import score
from nano.measure import observe, psnr
from nano.requests import ClipRequest, held_out

pytestmark = pytest.mark.slow

COUNT = 8
KINDS = [("wan-nano-t2v", False), ("wan-nano-ti2v", False), ("wan-nano-ti2v", True), ("wan-nano-i2v", True)]
SERVERS = {"diffusers": "nano", "onnxruntime": "graphs"}
# `test_onnx_models` compares an export's video with diffusers'
MARKS = {"diffusers": (), "onnxruntime": pytest.mark.storm}
ASKED = [
    pytest.param((*kind, backend), id="-".join(map(str, (*kind, backend))), marks=MARKS[backend])
    for backend in SERVERS
    for kind in KINDS
]
Found = dict[str, float]


@pytest.fixture(scope="module", params=ASKED)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, Found]:
    """Count a model's clips with the wanted content, by with and without images."""
    model, with_images, backend = request.param
    server: Server = request.getfixturevalue(SERVERS[backend])
    requests = held_out(COUNT, with_image=with_images)
    folder = tmp_path_factory.mktemp("clips")
    return with_images, score(requests, [clip(server, model, ask, folder) for ask in requests])


def test_a_model_draws_the_colour_and_the_motion_that_it_is_asked_for(found: tuple[bool, Found]) -> None:
    # one may be wrong here; `python -m nano.evaluate` tells how often over a hundred
    assert found[1]["colour"] >= 1 - 1 / COUNT, found
    assert found[1]["direction"] >= 1 - 1 / COUNT, found


def test_a_model_keeps_the_image_that_it_is_given(found: tuple[bool, Found]) -> None:
    with_images, shares = found
    if with_images:
        assert shares["kept"] >= 1 - 1 / COUNT, shares
        assert shares["moved"] >= 1 - 1 / COUNT, shares  # the object of that image, in the direction asked for


def test_a_model_draws_the_shape_that_it_is_asked_for(found: tuple[bool, Found]) -> None:
    with_images, shares = found
    if not with_images:
        assert shares["shape"] >= 1 - 3 / COUNT, shares


def test_a_larger_video_shows_it_too(nano: Server, tmp_path: Path) -> None:
    requests = held_out(3, with_image=False, side=96)

    found = score(requests, [clip(nano, "wan-nano", ask, tmp_path, width=96, height=96) for ask in requests])

    assert found["colour"] + found["direction"] >= 2 - 1 / 3, found


def test_a_negative_prompt_drives_its_colour_out(nano: Server, tmp_path: Path) -> None:
    ask = ClipRequest("a circle moves to the right", held_out(1, with_image=False)[0].subject, seed=3)
    drawn = observe(clip(nano, "wan-nano-t2v", ask, tmp_path)).colour
    other = observe(clip(nano, "wan-nano-t2v", ask, tmp_path, negative_prompt=drawn)).colour

    assert drawn is not None
    assert other != drawn


def test_guidance_changes_what_is_drawn(nano: Server, tmp_path: Path) -> None:
    (ask,) = held_out(1, with_image=False)
    guided, again = (clip(nano, "wan-nano-t2v", ask, tmp_path) for _ in range(2))
    unguided = clip(nano, "wan-nano-t2v", ask, tmp_path, guidance_scale=1.0)

    assert psnr(guided, again) == float("inf")
    assert psnr(guided, unguided) < 35


def clip(server: Server, model: str, ask: ClipRequest, folder: Path, **options: object) -> np.ndarray:
    content = ask.prompt if ask.image is None else with_image(ask.prompt, data_url(as_png(ask.image)))
    body = {"model": model, "input": content, "seed": ask.seed, "provider_options": {"video": options}}
    status, answer = server.call("/v1/responses", body)
    assert status == 200, answer
    return frames(server, answer, folder)


def as_png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
