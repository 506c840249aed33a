"""The tensors of a part's class, by its configuration, in diffusers' and transformers' names."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.folders.expected import image_encoder, text_encoder, transformer, vae
from registry.folders.expected.numbers import Numbers, Shape

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


def blocks(part: str, settings: Mapping[str, Any], config: Path) -> tuple[str, int, str]:
    """Return the prefix of a part's blocks, their number, and the word for them; raise as `expected`."""
    numbers = Numbers(part, settings, config)
    if part == "vae":
        return "decoder.up_blocks.", len(vae.multiples(numbers)), "levels"
    module = {"text_encoder": text_encoder, "image_encoder": image_encoder}.get(part, transformer)
    return module.BLOCKS, module.count(numbers), "blocks"
