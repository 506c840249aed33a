"""Modalities: the required and allowed inputs of a model."""

from __future__ import annotations

from collections.abc import Set
from enum import Enum, StrEnum


class Input(StrEnum):
    """One kind of thing that a request can carry."""

    TEXT = "text"
    IMAGE = "image"
    LAST_IMAGE = "last_image"

    @property
    def phrase(self) -> str:
        return {Input.TEXT: "text", Input.IMAGE: "an image", Input.LAST_IMAGE: "a last image"}[self]


class Modality(Enum):
    """A model takes a request when `needs <= given <= allows`."""

    T2V = ("t2v", "text-to-video", {Input.TEXT}, {Input.TEXT})
    I2V = ("i2v", "image-to-video", {Input.TEXT, Input.IMAGE}, {Input.TEXT, Input.IMAGE})
    TI2V = ("ti2v", "text-and-image-to-video", {Input.TEXT}, {Input.TEXT, Input.IMAGE})
    FLF2V = (
        "flf2v",
        "first-and-last-frame-to-video",
        {Input.TEXT, Input.IMAGE, Input.LAST_IMAGE},
        {Input.TEXT, Input.IMAGE, Input.LAST_IMAGE},
    )

    def __init__(self, word: str, title: str, needs: Set[Input], allows: Set[Input]) -> None:
        self.word = word
        self.title = title
        self.needs = frozenset(needs)
        self.allows = frozenset(allows)

    @classmethod
    def named(cls, word: str) -> Modality:
        """Return the modality called `word` (`t2v`, `i2v`, ...); raise `ValueError` for any other."""
        for modality in cls:
            if modality.word == word:
                return modality
        raise ValueError(f"modality must be one of {', '.join(m.word for m in cls)}, got {word!r}")

    def accepts(self, given: Set[Input]) -> bool:
        return self.needs <= given <= self.allows
