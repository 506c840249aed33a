"""Requests for clips of subjects that training never showed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nano.captions import FULL, MOTION, describe
from nano.scene import Subject, draw_scene, render, subjects

SEED = 90210  # of all random choices of an evaluation
Clip = NDArray[np.uint8]


@dataclass(frozen=True)
class ClipRequest:
    """A request for a clip: text, seed, optional image, subject to show."""

    prompt: str
    subject: Subject
    seed: int
    image: Clip | None = None
    negative: str = ""


def held_out(count: int, with_image: bool, side: int = 64) -> list[ClipRequest]:
    """Return requests for subjects held out of training, with random captions."""
    rng = np.random.default_rng((SEED, with_image, side))
    hidden = subjects(held_out=True)
    order = [hidden[int(index)] for index in np.resize(rng.permutation(len(hidden)), count)]
    requests = []
    for index, subject in enumerate(order):
        image = render(draw_scene(subject, rng), side, side, 1)[0] if with_image else None
        prompt = describe(subject, rng, MOTION if with_image else FULL).text
        requests.append(ClipRequest(prompt, subject, SEED + index, image))
    return requests
