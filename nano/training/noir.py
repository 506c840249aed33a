"""Train a style: the scenes of the words, as a black-and-white film shows them."""

from dataclasses import replace

import numpy as np

from nano.scene import FRAMES, Scene
from nano.training.latents import Size

SIZES = (Size(64, 64, FRAMES, 960), Size(96, 96, FRAMES, 120))
BRIGHT, DARK = 225, 40  # levels of 0...255


def black_and_white(scene: Scene) -> Scene:
    """Return the scene with a bright shape, or a dark one on white."""
    # not the grey of the same brightness: green is as bright as the gray background
    level = DARK if np.mean(scene.background) > 180 else BRIGHT
    return replace(scene, colour=(level, level, level))
