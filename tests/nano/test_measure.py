"""Observations of rendered clips with known aspects."""

from collections import Counter

import numpy as np
import pytest

from nano.measure import Observation, observe, psnr
from nano.scene import BACKGROUNDS, Subject, draw_scene, render, subjects


@pytest.fixture(scope="module")
def seen() -> list[tuple[Subject, Observation]]:
    rng = np.random.default_rng(5)
    sizes = [(64, 64), (96, 96), (96, 64)]
    chosen = [*subjects(held_out=True), *subjects(held_out=False)[::3]]
    result = []
    for index, subject in enumerate(chosen):
        width, height = sizes[index % len(sizes)]
        result.append((subject, observe(render(draw_scene(subject, rng, width / height), width, height))))
    return result


@pytest.mark.parametrize("aspect", ["colour", "shape", "direction", "background"])
def test_it_sees_what_was_rendered(seen: list[tuple[Subject, Observation]], aspect: str) -> None:
    wrong = Counter(
        (getattr(subject, aspect), getattr(found, aspect))
        for subject, found in seen
        if getattr(subject, aspect) != getattr(found, aspect)
    )
    assert wrong.total() <= 0.01 * len(seen), wrong


def test_blur_and_noise_change_no_answer() -> None:
    import cv2

    rng = np.random.default_rng(6)
    right = 0
    for subject in subjects(held_out=True):
        clip = render(draw_scene(subject, rng))
        worse = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in clip]) + rng.normal(0, 6, clip.shape)
        found = observe(np.clip(worse, 0, 255).astype(np.uint8))
        right += found == Observation(subject.colour, subject.shape, subject.direction, subject.background)
    assert right >= 0.95 * len(subjects(held_out=True))


def test_noise_alone_shows_nothing() -> None:
    clip = np.random.default_rng(7).integers(0, 256, (17, 64, 64, 3)).astype(np.uint8)
    found = observe(clip)
    assert found.shape is None
    assert found.direction is None


def test_an_empty_clip_shows_its_background_only() -> None:
    clip = np.empty((17, 64, 64, 3), np.uint8)
    clip[:] = BACKGROUNDS["gray"]
    assert observe(clip) == Observation(background="gray")


def test_a_shape_that_stands_still_has_no_direction() -> None:
    clip = render(draw_scene(subjects(held_out=True)[0], np.random.default_rng(8)))
    clip[:] = clip[0]
    assert observe(clip).direction is None


def test_a_blob_is_no_shape() -> None:
    clip = np.zeros((17, 64, 64, 3), np.uint8)
    for index, frame in enumerate(clip):
        frame[28:34, 10 + index : 40 + index] = (255, 0, 0)
    found = observe(clip)
    assert found.shape is None
    assert found.colour == "red"
    assert found.direction == "right"


def test_psnr_is_in_decibels() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, black + 255) == pytest.approx(0.0)
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)
