"""Captions of a scene: a small grammar with synonyms, several word orders and omissions."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import Formatter

import numpy as np

from nano.scene import Subject

COLOUR_WORDS = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise", "aqua"),
    "blue": ("blue", "navy"),
    "purple": ("purple", "violet"),
}
SHAPE_WORDS = {
    "circle": ("circle", "ball", "disc", "disk", "dot"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "pyramid"),
    "star": ("star",),
}
DIRECTION_WORDS = {
    "left": ("left", "to the left", "leftwards", "leftward", "from right to left", "towards the left"),
    "right": ("right", "to the right", "rightwards", "rightward", "from left to right", "towards the right"),
    "up": ("up", "upwards", "upward", "to the top", "from bottom to top", "towards the top"),
    "down": ("down", "downwards", "downward", "to the bottom", "from top to bottom", "towards the bottom"),
}
BACKGROUND_WORDS = {"black": ("black", "dark"), "gray": ("gray", "grey"), "white": ("white", "bright")}
ANY_SHAPE = ("shape", "object", "thing", "figure")
MOVES = ("moves", "slides", "glides", "drifts", "travels", "floats", "goes", "flies", "rolls")
MOVING = ("moving", "sliding", "gliding", "drifting", "travelling", "floating", "going", "flying", "rolling")
BACKDROPS = ("on a {} background", "against a {} background", "in front of {}", "on {}")
# verbs that name the direction themselves
MOVES_THERE = {"up": ("rises", "ascends", "climbs"), "down": ("falls", "drops", "descends", "sinks")}

FULL = (
    "a {colour} {shape} {moves} {direction}",
    "a {colour} {shape} {moves} {direction} {place}",
    "a {colour} {shape} {place} {moves} {direction}",
    "a {colour} {shape} {moving} {direction}",
    "a {colour} {shape} {moving} {direction} {place}",
    "the {colour} {shape} {moves} {direction}",
    "one {colour} {shape} that {moves} {direction}",
    "{colour} {shape} {moving} {direction}",
    "{colour} {shape}, {direction}",
    "{colour} {shape}, {moving} {direction}, {background} background",
    "{place}, a {colour} {shape} {moves} {direction}",
    "{moving} {direction}: a {colour} {shape}",
    "{moving} {direction} {place}, a {shape} in {colour}",
    "a {shape} in {colour} {moves} {direction}",
    "the {shape} is {colour} and {moves} {direction}",
    "the {shape} {moves} {direction} and it is {colour}",
    "a {shape}, {colour}, {moves} {direction} {place}",
    "a video of a {colour} {shape} {moving} {direction}",
    "a clip of a {colour} {shape} that {moves} {direction} {place}",
    "the background is {background} and a {colour} {shape} {moves} {direction}",
    "{colour}, {shape}, {direction}",
    "{colour}, {shape}, {direction}, {background} background",
)
PARTIAL = (
    "a {shape} {moves} {direction}",
    "a {shape} {moves} {direction} {place}",
    "a {colour} {any} {moves} {direction}",
    "the {any} is {colour} and {moves} {direction}",
    "something {colour} {moves} {direction}",
    "a {any} {moves} {direction}",
    "a {any} {moving} {direction} {place}",
    "a {colour} {shape}",
    "a {colour} {shape} {place}",
    "a {shape}",
    "a {colour} {any}",
    "{colour}",
    "{shape}",
    "{direction}",
    "{colour} {shape}",
    "{background} background",
    "{moving} {direction}",
)
# with an image, the text need not describe the image
MOTION = (
    "it {moves} {direction}",
    "the {shape} {moves} {direction}",
    "the {colour} {shape} {moves} {direction}",
    "a {colour} {shape} {moves} {direction}",
    "a {colour} {shape} {moves} {direction} {place}",
    "the {any} {moves} {direction}",
    "the {any} in the image {moves} {direction}",
    "move {direction}",
    "move it {direction}",
    "{moving} {direction}",
    "{direction}",
    "make the {shape} move {direction}",
    "let the {any} go {direction}",
)

# words around a prompt that say nothing about the scene
BEFORE = (
    "please show ", "show me ", "i want to see ", "cinematic shot: ", "animation of ", "a short video: ",
    "high quality, ", "minimalist style, ", "a simple scene where ", "generate ", "4k, ",
)  # fmt: skip
AFTER = (
    ", high quality", ", 4k", ", smooth motion", " please", ", cinematic", " in a smooth motion", ", flat colors",
    " across the frame", " across the screen", ", simple animation", ", detailed", " at a steady pace",
)  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """A caption and the aspects it names; None for an aspect it leaves out."""

    text: str
    colour: str | None
    shape: str | None
    direction: str | None
    background: str | None


def describe(subject: Subject, rng: np.random.Generator, templates: Sequence[str] = FULL) -> Caption:
    """Return a caption of the subject from a random template with random words."""
    template = _pick(templates, rng)
    words = _words(subject, rng)
    named = set()
    if subject.direction in MOVES_THERE and "{moves} {direction}" in template and rng.random() < 0.25:
        words["moves"] = _pick(MOVES_THERE[subject.direction], rng)
        template = template.replace("{moves} {direction}", "{moves}")
        named.add("direction")
    named |= {name for _, name, _, _ in Formatter().parse(template) if name}
    return Caption(
        _decorated(template.format(**words), rng),
        colour=subject.colour if "colour" in named else None,
        shape=subject.shape if "shape" in named else None,
        direction=subject.direction if "direction" in named else None,
        background=subject.background if named & {"background", "place"} else None,
    )


def vocabulary() -> Iterator[str]:
    """Yield texts that hold every word of the grammar."""
    for words in (COLOUR_WORDS, SHAPE_WORDS, DIRECTION_WORDS, BACKGROUND_WORDS, MOVES_THERE):
        for synonyms in words.values():
            yield from synonyms
    yield from (*ANY_SHAPE, *MOVES, *MOVING, *BEFORE, *AFTER)
    blank = dict.fromkeys(("colour", "shape", "direction", "background", "place", "moves", "moving", "any"), "")
    for template in (*FULL, *PARTIAL, *MOTION, "on against in front of background"):
        yield template.format(**blank)


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _words(subject: Subject, rng: np.random.Generator) -> dict[str, str]:
    # the order of the draws decides the captions of a seed
    background = _pick(BACKGROUND_WORDS[subject.background], rng)
    return {
        "colour": _pick(COLOUR_WORDS[subject.colour], rng) if rng.random() < 0.5 else subject.colour,
        "shape": _pick(SHAPE_WORDS[subject.shape], rng) if rng.random() < 0.5 else subject.shape,
        "any": _pick(ANY_SHAPE, rng),
        "moves": _pick(MOVES, rng),
        "moving": _pick(MOVING, rng),
        "direction": _pick(DIRECTION_WORDS[subject.direction], rng),
        "background": background,
        "place": _pick(BACKDROPS, rng).format(background),
    }


def _decorated(text: str, rng: np.random.Generator) -> str:
    """Return the caption with filler words, capitals and punctuation at random."""
    if rng.random() < 0.1:
        text = BEFORE[int(rng.integers(len(BEFORE)))] + text
    if rng.random() < 0.1:
        text += AFTER[int(rng.integers(len(AFTER)))]
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.3:
        text += "." if rng.random() < 0.8 else "!"
    if rng.random() < 0.05:
        text = " " + text
    return re.sub(r"\b([Aa]) (?=[aeo])", r"\1n ", text)
