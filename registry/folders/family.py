"""The published family closest to a model, by its configurations."""

import math
from collections.abc import Mapping
from dataclasses import replace

from registry.families import FAMILIES, Family
from registry.modality import Modality

Config = Mapping[str, object]

LARGEST = 2**31  # of any number in a configuration


def infer(modality: Modality, kin: Modality, experts: int, transformer: Config, vae: Config) -> Family:
    """Return the closest published family, corrected by the configurations.

    Closeness compares `kin`, the modality of the families with such a DiT, then the DiT's width, then the number of
    experts; the first of equals wins (480P for a 2.1 I2V: its 720P twin has the same configuration).
    """
    inner_dim = _whole(transformer, "num_attention_heads", 0) * _whole(transformer, "attention_head_dim", 128)

    def distance(family: Family) -> tuple[bool, float, bool]:
        width = abs(math.log(family.inner_dim / inner_dim)) if inner_dim else 0.0
        return family.modality is not kin, width, family.experts != experts

    closest = min(FAMILIES, key=distance)
    multiple = 2 * _whole(vae, "scale_factor_spatial", closest.size_multiple // 2)  # the DiT's patch is 2 latents wide
    sides = (closest.defaults.width, closest.defaults.height)
    width, height = (max(multiple, side // multiple * multiple) for side in sides)
    defaults = replace(closest.defaults, width=width, height=height)
    if experts == 1:
        defaults = replace(defaults, guidance_scale_2=None)
    inner_dim = inner_dim or closest.inner_dim
    return replace(
        closest, modality=modality, defaults=defaults, inner_dim=inner_dim, size_multiple=multiple, experts=experts
    )


def _whole(config: Config, key: str, otherwise: int) -> int:
    value = config.get(key)
    return value if type(value) is int and 0 < value < LARGEST else otherwise
