"""The published variants, and the family of other models by their files."""

from pathlib import Path
from typing import Any

import pytest

from registry import Modality
from registry.families import FAMILIES, NEGATIVE_PROMPT, Family, find, stand_in
from registry.folders.model import ModelFolder, Part

SHIFTS = {
    "wan2.1-t2v-14b": (3, 5),
    "wan2.1-t2v-1.3b": (3, 5),
    "wan2.1-i2v-14b-480p": (3, 5),
    "wan2.1-i2v-14b-720p": (3, 5),
    "wan2.1-flf2v-14b-720p": (16, 16),
    "wan2.2-t2v-a14b": (12, 12),
    "wan2.2-i2v-a14b": (5, 5),
    "wan2.2-ti2v-5b": (5, 5),
    "wan-nano-t2v": (2, 2),
    "wan-nano-i2v": (2, 2),
    "wan-nano-ti2v": (2, 2),
}


def known(name: str) -> Family:
    family = find(name)
    assert family is not None
    return family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_defaults_of_a_family_keep_its_own_rules(family: Family) -> None:
    defaults, limits = family.defaults, family.limits
    assert defaults.width % family.size_multiple == defaults.height % family.size_multiple == 0
    assert defaults.width * defaults.height <= limits.pixels
    assert defaults.num_frames % 4 == 1
    assert defaults.num_frames <= limits.frames
    assert defaults.steps <= limits.steps
    assert len(defaults.negative_prompt) <= limits.prompt


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_found_by_its_name_and_by_its_source(family: Family) -> None:
    assert find(family.name) is family
    assert find(family.source) is family
    assert find(family.source.upper().replace("EMBEDDED:WAN-NANO", "embedded:wan-nano")) is family


def test_names_and_sources_are_each_given_once() -> None:
    assert len({family.name for family in FAMILIES} | {family.source.lower() for family in FAMILIES}) == 22


@pytest.mark.parametrize("unknown", ["", "wan", "Wan-AI", "Wan-AI/Wan2.2-T2V-A14B", "embedded:wan2.2-t2v-a14b"])
def test_what_nobody_published_is_not_found(unknown: str) -> None:
    assert find(unknown) is None


def test_each_family_has_its_own_flow_shift_at_480p_and_at_720p() -> None:
    found = {f.name: (f.defaults.flow_shift.at(832, 480), f.defaults.flow_shift.at(1280, 720)) for f in FAMILIES}
    assert found == SHIFTS


@pytest.mark.parametrize(
    ("name", "steps", "high", "low"),
    [
        ("wan2.2-t2v-a14b", 40, 4.0, 3.0),
        ("wan2.2-i2v-a14b", 40, 3.5, 3.5),
        ("wan2.2-ti2v-5b", 50, 5.0, None),
        ("wan2.1-t2v-1.3b", 50, 5.0, None),
        ("wan2.1-i2v-14b-720p", 40, 5.0, None),
        ("wan2.1-flf2v-14b-720p", 50, 5.5, None),
    ],
)
def test_steps_and_guidance_are_the_official_ones(name: str, steps: int, high: float, low: float | None) -> None:
    defaults = known(name).defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.guidance_scale_2) == (steps, high, low)


def test_only_families_of_two_experts_have_a_second_guidance() -> None:
    assert all(f.experts == 2 for f in FAMILIES if f.defaults.guidance_scale_2 is not None)


def test_the_5b_has_its_own_size_rate_and_length() -> None:
    family = known("wan2.2-ti2v-5b")
    defaults = family.defaults
    assert (defaults.width, defaults.height, family.size_multiple) == (1280, 704, 32)
    assert (defaults.num_frames, defaults.frames_per_second) == (121, 24)


def test_the_image_models_of_2_1_prepend_to_the_negative_prompt() -> None:
    assert known("wan2.2-i2v-a14b").defaults.negative_prompt == NEGATIVE_PROMPT
    assert known("wan2.1-i2v-14b-480p").defaults.negative_prompt == "镜头晃动，" + NEGATIVE_PROMPT
    assert known("wan2.1-flf2v-14b-720p").defaults.negative_prompt == "镜头切换，镜头晃动，" + NEGATIVE_PROMPT


@pytest.mark.parametrize("modality", Modality)
def test_every_modality_has_a_family_to_stand_in(modality: Modality) -> None:
    assert stand_in(modality).modality is modality


def inferred(index: dict[str, Any], transformer: dict[str, object], vae: dict[str, object] | None = None) -> Family:
    """Return the family of a folder with these configurations."""
    parts = {
        name: Part(name, Path(name), "diffusers", "", config, None)
        for name, config in (("transformer", transformer), ("vae", vae or {}))
    }
    expand = index.get("expand_timesteps", False)
    return ModelFolder(Path(), index["_class_name"], parts, index.get("boundary_ratio"), expand).family


T2V = {"_class_name": "WanPipeline"}
I2V = {"_class_name": "WanImageToVideoPipeline"}
WIDE = {"num_attention_heads": 40, "attention_head_dim": 128}


@pytest.mark.parametrize(
    ("model_index", "transformer", "family", "modality"),
    [
        (T2V, WIDE, "wan2.1-t2v-14b", Modality.T2V),
        (T2V, {**WIDE, "num_attention_heads": 12}, "wan2.1-t2v-1.3b", Modality.T2V),
        (T2V, {"num_attention_heads": 2, "attention_head_dim": 12}, "wan-nano-t2v", Modality.T2V),
        ({**T2V, "boundary_ratio": 0.875}, WIDE, "wan2.2-t2v-a14b", Modality.T2V),
        ({**T2V, "boundary_ratio": None, "expand_timesteps": False}, WIDE, "wan2.1-t2v-14b", Modality.T2V),
        ({**T2V, "expand_timesteps": True}, {**WIDE, "num_attention_heads": 24}, "wan2.2-ti2v-5b", Modality.TI2V),
        ({**I2V, "expand_timesteps": True}, {**WIDE, "num_attention_heads": 24}, "wan2.2-ti2v-5b", Modality.I2V),
        (I2V, WIDE, "wan2.1-i2v-14b-480p", Modality.I2V),
        ({**I2V, "boundary_ratio": 0.9}, WIDE, "wan2.2-i2v-a14b", Modality.I2V),
        (I2V, {**WIDE, "pos_embed_seq_len": 514}, "wan2.1-flf2v-14b-720p", Modality.FLF2V),
        ({**T2V, "boundary_ratio": 0.875}, {}, "wan2.2-t2v-a14b", Modality.T2V),
        (T2V, {"num_attention_heads": "many"}, "wan2.1-t2v-14b", Modality.T2V),
    ],
)
def test_configurations_tell_the_closest_family(
    model_index: dict[str, Any], transformer: dict[str, object], family: str, modality: Modality
) -> None:
    found = inferred(model_index, transformer)
    assert (found.name, found.modality) == (family, modality)


def test_the_vae_tells_the_size_multiple_and_the_default_size_follows() -> None:
    family = inferred(T2V, WIDE, {"scale_factor_spatial": 32})
    assert family.size_multiple == 64
    assert (family.defaults.width, family.defaults.height) == (832, 448)
