"""A caption's words agree with its subject and with its aspects."""

import numpy as np
import pytest

from nano.captions import (
    BACKGROUND_WORDS,
    COLOUR_WORDS,
    DIRECTION_WORDS,
    FULL,
    MOTION,
    MOVES_THERE,
    PARTIAL,
    SHAPE_WORDS,
    Caption,
    describe,
)
from nano.scene import BACKGROUNDS, COLOURS, DIRECTIONS, SHAPES, Subject, draw_scene, is_held_out, render, subjects

WORDS = {
    "colour": COLOUR_WORDS,
    "shape": SHAPE_WORDS,
    "direction": {name: (*words, *MOVES_THERE.get(name, ())) for name, words in DIRECTION_WORDS.items()},
    "background": BACKGROUND_WORDS,
}


def captions(templates: tuple[str, ...], count: int = 400) -> list[tuple[Subject, Caption]]:
    rng = np.random.default_rng(3)
    everything = subjects(held_out=False)
    chosen = [everything[rng.integers(len(everything))] for _ in range(count)]
    return [(subject, describe(subject, rng, templates)) for subject in chosen]


@pytest.mark.parametrize("templates", [FULL, PARTIAL, MOTION], ids=["full", "partial", "motion"])
def test_what_a_caption_says_is_in_its_words(templates: tuple[str, ...]) -> None:
    for subject, caption in captions(templates):
        for aspect, words in WORDS.items():
            answer = getattr(caption, aspect)
            assert answer in (None, getattr(subject, aspect))
            if answer is not None:
                assert any(word in caption.text.lower() for word in words[answer]), caption


def test_a_full_caption_leaves_nothing_of_the_subject_out() -> None:
    assert all(caption.colour and caption.shape and caption.direction for _, caption in captions(FULL))


def test_nothing_is_left_to_fill_in() -> None:
    assert not [
        caption for _, caption in captions(FULL) + captions(PARTIAL) + captions(MOTION) if set("{}") & set(caption.text)
    ]


def test_the_same_random_numbers_give_the_same_captions() -> None:
    assert captions(FULL) == captions(FULL)


def test_training_and_evaluation_share_no_colour_shape_and_direction() -> None:
    shown, hidden = ({(s.colour, s.shape, s.direction) for s in subjects(held)} for held in (False, True))
    assert not shown & hidden
    assert len(shown | hidden) == len(COLOURS) * len(SHAPES) * len(DIRECTIONS)
    assert {is_held_out(subject) for subject in subjects(True)} == {True}


def test_every_value_is_seen_in_training_with_every_other() -> None:
    shown = subjects(held_out=False)
    assert len({(s.colour, s.shape) for s in shown}) == len(COLOURS) * len(SHAPES)
    assert len({(s.colour, s.direction) for s in shown}) == len(COLOURS) * len(DIRECTIONS)
    assert len({(s.shape, s.direction) for s in shown}) == len(SHAPES) * len(DIRECTIONS)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 96), (96, 64), (64, 96)])
def test_a_shape_stays_in_its_frame(width: int, height: int) -> None:
    rng = np.random.default_rng(4)
    for subject in subjects(held_out=True):
        scene = draw_scene(subject, rng, width / height)
        clip = render(scene, width, height)
        border = np.concatenate([clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]], axis=1).astype(int)
        touched = (np.abs(border - np.array(scene.background)).max(axis=-1) > 40).sum(axis=1)
        assert touched.max() <= 6  # a tip of a star or of a triangle at most
    assert set(BACKGROUNDS) == {subject.background for subject in subjects(held_out=True)}
