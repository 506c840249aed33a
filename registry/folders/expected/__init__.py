"""The tensors of a part's class, by its configuration, in diffusers' and transformers' names."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from registry.folders.expected import image_encoder, text_encoder, transformer, vae
from registry.folders.expected.numbers import Numbers, Shape


class Blocks(NamedTuple):
    """A part's numbered blocks: prefix of tensor names, total, and word in messages."""

    prefix: str
    total: int
    word: str


_CLASSES: Mapping[str, Callable[[Numbers], Iterator[tuple[str, Shape]]]] = {
    "transformer": transformer.tensors,
    "transformer_2": transformer.tensors,
    "text_encoder": text_encoder.tensors,
    "image_encoder": image_encoder.tensors,
    "vae": vae.tensors,
}


def expected(
    part: str, settings: Mapping[str, Any], class_name: str = "", config: Path = Path("config.json")
) -> Iterator[tuple[str, Shape]]:
    """Yield the name and shape of each tensor of a part with these `settings`.

    Tensors that two names share come once, as `shared.weight`. `class_name` tells CLIP's classes apart. Raises
    `FolderError` about `config` for settings beyond those of any real model, before the first tensor.
    """
    return _CLASSES[part](Numbers(part, settings, config, class_name))


def blocks_of(part: str, settings: Mapping[str, Any], config: Path) -> Blocks:
    """Return the numbered blocks of a part; raise as `expected` does."""
    numbers = Numbers(part, settings, config)
    match part:
        case "vae":
            return Blocks("decoder.up_blocks.", len(vae.multiples(numbers)), "levels")
        case "text_encoder":
            return Blocks(text_encoder.BLOCKS, text_encoder.count(numbers), "blocks")
        case "image_encoder":
            return Blocks(image_encoder.BLOCKS, image_encoder.count(numbers), "blocks")
        case _:
            return Blocks(transformer.BLOCKS, transformer.count(numbers), "blocks")
