"""The table of published adapters."""

from dataclasses import replace

import pytest

from registry.adapters import NAME, STRENGTH, Adapter, PerExpert
from registry.consistency import adapter_contradictions
from registry.families import find
from registry.known_adapters import KNOWN, KnownAdapter, of_family, of_name
from registry.source import is_hub_id


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.name}-{known.family}")
def test_a_published_adapter_keeps_the_rules_of_its_family(known: KnownAdapter) -> None:
    family = find(known.family)
    assert family is not None
    adapter = Adapter(known.name, known.source, known.files, defaults=known.defaults)

    assert [*adapter_contradictions([adapter], (), family.defaults, family.limits, family.size_multiple)] == []
    assert len(adapter.file_names) == family.experts
    assert ("guidance_scale_2" in known.defaults) <= (family.experts == 2)
    assert all(file.endswith(".safetensors") and "*" not in file for file in adapter.file_names)
    assert NAME.fullmatch(known.name)
    assert STRENGTH.number(known.strength)
    assert is_hub_id(known.source) or known.source == f"embedded:{known.family}/{known.name}"
    replace(family.defaults, **known.defaults)  # they are fields


def test_a_name_is_of_one_adapter_for_a_family() -> None:
    assert len({(known.name, known.family) for known in KNOWN}) == len(KNOWN)


def test_four_steps_need_no_guidance() -> None:
    for known in KNOWN:
        if known.defaults.get("steps", 50) < 12:
            assert known.defaults["guidance_scale"] == known.defaults.get("guidance_scale_2", 1) == 1


def test_the_table_is_asked_by_name_by_embedded_source_and_by_family() -> None:
    assert [known.family for known in of_name("fast4")] == ["wan-nano-t2v", "wan-nano-i2v", "wan-nano-ti2v"]
    assert [known.family for known in of_name("embedded:wan-nano-i2v/fast4")] == ["wan-nano-i2v"]
    assert of_name("lightx2v/Wan2.2-Lightning") == of_name("nothing") == ()
    assert of_family("wan2.2-t2v-a14b") == ("wan2.2-t2v-lightning", "wan2.2-t2v-lightx2v")
    assert of_family("wan2.1-flf2v-14b-720p") == ()


def test_the_experts_of_lightning_have_a_file_each() -> None:
    (known,) = of_name("wan2.2-i2v-lightning")
    folder = "Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1"
    assert known.files == PerExpert(f"{folder}/high_noise_model.safetensors", f"{folder}/low_noise_model.safetensors")
