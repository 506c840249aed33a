"""The published families closest to a model, by its configurations or its tensors."""

import math
from collections.abc import Mapping
from dataclasses import replace

from registry.families import FAMILIES, Family
from registry.modality import Modality

Config = Mapping[str, object]

LARGEST = 2**31  # of any number in a configuration
PATCHES = "patch_embedding.weight"  # (width, channels, 1, 2, 2)
CHANNELS = {Modality.T2V: 16, Modality.I2V: 36, Modality.FLF2V: 36, Modality.TI2V: 48}
OF_IMAGES = "condition_embedder.image_embedder"  # 2.1 reads CLIP's tokens, 2.2 does not


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


def alike(transformer: Mapping[str, tuple[int, ...]]) -> tuple[Family, ...]:
    """Return the published families of a transformer's width, channels and image embedder."""
    shape = transformer.get(PATCHES, ())
    clip = any(name.startswith(OF_IMAGES) for name in transformer)
    first_and_last = f"{OF_IMAGES}.pos_embed" in transformer
    return tuple(
        family
        for family in FAMILIES
        if family.repo
        and (family.inner_dim, CHANNELS.get(family.modality)) == shape[:2]
        and (shape[1] != CHANNELS[Modality.I2V] or clip == (family.experts == 1))
        and first_and_last == (family.modality is Modality.FLF2V)
    )


def _whole(config: Config, key: str, otherwise: int) -> int:
    value = config.get(key)
    return value if type(value) is int and 0 < value < LARGEST else otherwise
