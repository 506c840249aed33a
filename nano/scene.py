"""Scenes of Wan Nano: one coloured shape moves straight across a plain background."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "red": (215, 40, 40),
    "orange": (245, 140, 25),
    "yellow": (240, 225, 45),
    "green": (45, 165, 60),
    "cyan": (60, 205, 220),
    "blue": (40, 75, 215),
    "purple": (145, 55, 190),
}
SHAPES = ("circle", "square", "triangle", "star")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # x to the right, y down
BACKGROUNDS = {"black": (18, 18, 18), "gray": (125, 125, 125), "white": (238, 238, 238)}
FRAMES = 17  # in a clip; a scene's travel is the way from the first to the last

RADII = (0.18, 0.25)  # of the shorter side
TRAVEL = (0.28, 0.5)  # of the side that the shape moves along
_SUBPIXEL = 8  # bits that OpenCV takes as a fraction


@dataclass(frozen=True)
class Scene:
    """The content of a clip; positions are fractions of the frame."""

    shape: str
    colour: tuple[int, int, int]
    background: tuple[int, int, int]
    start: tuple[float, float]  # x and y from the top left
    step: tuple[float, float]  # from one frame to the next
    radius: float  # of the circle with the shape's area, as a fraction of the shorter side


@dataclass(frozen=True)
class Subject:
    """The aspects of a clip that a caption may name."""

    colour: str
    shape: str
    direction: str
    background: str


def is_held_out(subject: Subject) -> bool:
    """Tell whether training leaves out this combination of colour, shape and direction."""
    colour, shape = list(COLOURS).index(subject.colour), SHAPES.index(subject.shape)
    # a quarter of the combinations, spread evenly
    return (colour + shape + list(DIRECTIONS).index(subject.direction)) % 4 == 0


def subjects(held_out: bool) -> list[Subject]:
    """Return all subjects of training, or all held out of it."""
    everything = (Subject(*values) for values in product(COLOURS, SHAPES, DIRECTIONS, BACKGROUNDS))
    return [subject for subject in everything if is_held_out(subject) == held_out]


def draw_scene(subject: Subject, rng: np.random.Generator, aspect: float = 1.0) -> Scene:
    """Return a scene with random position, size, speed and shade.

    `aspect` is `width / height`.
    """
    radius = rng.uniform(*RADII)
    extent = {0: radius / max(aspect, 1.0), 1: radius * min(aspect, 1.0)}  # of the radius, as fractions of x and y
    along = 0 if DIRECTIONS[subject.direction][0] else 1
    reach = 1.35  # of the farthest corner, in radii
    free = 1.0 - 2.0 * reach * extent[along]
    travel = min(rng.uniform(*TRAVEL), free)
    low = reach * extent[along] + rng.uniform(0, free - travel)
    sign = DIRECTIONS[subject.direction][along]
    across = rng.uniform(reach * extent[1 - along], 1.0 - reach * extent[1 - along])
    start, step = [across, across], [0.0, 0.0]
    start[along] = low if sign > 0 else low + travel
    step[along] = sign * travel / (FRAMES - 1)
    shade = rng.integers(-10, 11, size=2)
    return Scene(
        shape=subject.shape,
        colour=_shaded(COLOURS[subject.colour], shade[0]),
        background=_shaded(BACKGROUNDS[subject.background], shade[1]),
        start=(start[0], start[1]),
        step=(step[0], step[1]),
        radius=radius,
    )


def draw_wild_scene(rng: np.random.Generator) -> Scene:
    """Return a scene of any two colours and any direction, to train the VAE."""
    angle = rng.uniform(0, 2 * np.pi)
    travel = rng.uniform(0, TRAVEL[1]) / (FRAMES - 1)
    middle = rng.uniform(0.3, 0.7, size=2)
    step = (float(np.cos(angle) * travel), float(np.sin(angle) * travel))
    colours = rng.integers(0, 256, size=(2, 3))
    return Scene(
        shape=SHAPES[rng.integers(len(SHAPES))],
        colour=_shaded(colours[0]),
        background=_shaded(colours[1]),
        start=(float(middle[0] - step[0] * FRAMES / 2), float(middle[1] - step[1] * FRAMES / 2)),
        step=step,
        radius=rng.uniform(0.08, 0.3),
    )


def render(scene: Scene, width: int = 64, height: int = 64, frames: int = FRAMES) -> NDArray[np.uint8]:
    """Return the clip in RGB, its edges smoothed.

    Its shape is `(frames, height, width, 3)`; an edge is exact to a fraction of a pixel.
    """
    outline = OUTLINES[scene.shape] * scene.radius * min(width, height)
    clip = np.empty((frames, height, width, 3), np.uint8)
    clip[:] = scene.background
    for index, frame in enumerate(clip):
        middle = np.array(
            [(scene.start[0] + index * scene.step[0]) * width, (scene.start[1] + index * scene.step[1]) * height]
        )
        corners = np.round((outline + middle - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.fillPoly(frame, [corners], scene.colour, lineType=cv2.LINE_AA, shift=_SUBPIXEL)
    return clip


def _shaded(colour: Iterable[int], change: int = 0) -> tuple[int, int, int]:
    red, green, blue = (int(np.clip(value + change, 0, 255)) for value in colour)
    return red, green, blue


def _outlines() -> dict[str, NDArray[np.float64]]:
    """Return the corners of each shape, centred, about the unit circle in area."""

    def points(angles: NDArray[np.float64], radii: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.stack([np.sin(angles) * radii, -np.cos(angles) * radii], axis=1)

    around = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    spikes = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    triangle = points(np.linspace(0, 2 * np.pi, 3, endpoint=False), 1.42)
    return {
        "circle": points(around, 1.0),
        "square": points(np.pi / 4 + np.linspace(0, 2 * np.pi, 4, endpoint=False), 1.22),
        "triangle": triangle + np.array([0.0, 0.2]),
        "star": points(spikes, np.where(np.arange(10) % 2 == 0, 1.42, 0.62)),
    }


OUTLINES = _outlines()
