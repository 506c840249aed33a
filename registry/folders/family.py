"""The published family closest to a model, by its configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from registry.families import FAMILIES, Family
from registry.modality import Modality
from registry.models import Defaults

Config = Mapping[str, object]

LARGEST = 2**31  # of any number in a configuration
_CLASSES = {"WanPipeline": Modality.T2V, "WanImageToVideoPipeline": Modality.I2V}


def infer(model_index: Config, transformer: Config | None = None, vae: Config | None = None) -> Family:
    """Return the closest published family, corrected by the configurations.

    Closeness compares the modality, then the DiT's width, then the number of experts; the first of equals wins (480P
    for a 2.1 I2V: its 720P twin has the same configuration). Raises `ValueError` for other pipelines than Wan's two.
    """
    transformer, vae = transformer or {}, vae or {}
    modality, kin = _modality(model_index, transformer)
    experts = 1 if model_index.get("boundary_ratio") is None else 2
    inner_dim = _whole(transformer, "num_attention_heads", 0) * _whole(transformer, "attention_head_dim", 128)

    def distance(family: Family) -> tuple[bool, float, bool]:
        width = abs(math.log(family.inner_dim / inner_dim)) if inner_dim else 0.0
        return family.modality is not kin, width, family.experts != experts

    closest = min(FAMILIES, key=distance)
    multiple = 2 * _whole(vae, "scale_factor_spatial", closest.size_multiple // 2)  # the DiT's patch is 2 latents wide
    defaults = _fitted(closest.defaults, multiple)
    if experts == 1:
        defaults = replace(defaults, guidance_scale_2=None)
    width = inner_dim or closest.inner_dim
    return replace(
        closest, modality=modality, inner_dim=width, size_multiple=multiple, experts=experts, defaults=defaults
    )


def _modality(model_index: Config, transformer: Config) -> tuple[Modality, Modality]:
    """Return the modality, and that of the published family with such a DiT."""
    name = model_index.get("_class_name")
    modality = _CLASSES.get(name) if isinstance(name, str) else None
    if modality is None:
        raise ValueError(f"model_index.json must be of a {' or a '.join(_CLASSES)}, got {name}")
    if model_index.get("expand_timesteps") is True:  # one DiT for text with and without an image, in either pipeline
        return (Modality.TI2V if modality is Modality.T2V else modality), Modality.TI2V
    if modality is Modality.I2V and transformer.get("pos_embed_seq_len") is not None:
        return Modality.FLF2V, Modality.FLF2V
    return modality, modality


def _fitted(defaults: Defaults, multiple: int) -> Defaults:
    width, height = (max(multiple, side // multiple * multiple) for side in (defaults.width, defaults.height))
    return replace(defaults, width=width, height=height)


def _whole(config: Config, key: str, otherwise: int) -> int:
    value = config.get(key)
    return value if type(value) is int and 0 < value < LARGEST else otherwise
