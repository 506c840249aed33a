"""The published configurations against the classes of diffusers and transformers."""

from math import prod
from typing import Any

import pytest

from registry.families import FAMILIES
from registry.folders.expected import expected
from registry.published import PublishedPart, parts_of

KNOWN = {family.name: parts_of(family.name, family.experts) for family in FAMILIES if family.repo}
PARTS = {part.identity: (name, part) for parts in KNOWN.values() for name, part in parts.items()}
# of the papers and the model cards, in billions
PARAMETERS = {
    "wan2.1-t2v-1.3b transformer": 1.419,
    "wan2.1-t2v-14b transformer": 14.29,
    "wan2.2-ti2v-5b transformer": 5.00,
    "umT5-XXL": 5.68,
    "VAE 2.1": 0.127,
    "VAE 2.2": 0.705,
    "CLIP ViT-H": 0.631,
}


@pytest.mark.parametrize("identity", PARAMETERS)
def test_a_part_has_the_published_number_of_parameters(identity: str) -> None:
    name, part = PARTS[identity]
    total = sum(prod(shape) for _, shape in expected(name, part.settings, part.class_name))

    assert total / 1e9 == pytest.approx(PARAMETERS[identity], rel=0.005)


def test_each_published_family_has_its_parts() -> None:
    for family in FAMILIES:
        parts = parts_of(family.name, family.experts)
        assert bool(parts) is (family.repo is not None)
        if parts:
            heads = parts["transformer"].settings["num_attention_heads"]
            assert heads * 128 == family.inner_dim
            assert ("transformer_2" in parts) is (family.experts == 2)
            assert parts["vae"].settings.get("scale_factor_spatial", 8) * 2 == family.size_multiple


def test_parts_of_all_families_are_the_same_by_identity() -> None:
    assert {parts["text_encoder"].identity for parts in KNOWN.values()} == {"umT5-XXL"}
    transformers = [part.identity for parts in KNOWN.values() for name, part in parts.items() if "transformer" in name]
    assert len(set(transformers)) == len(transformers)


@pytest.mark.slow
@pytest.mark.parametrize("identity", PARTS)
def test_a_part_has_the_shapes_of_its_class(identity: str) -> None:
    torch = pytest.importorskip("torch")
    name, part = PARTS[identity]

    with torch.device("meta"):
        made = _made(part)

    shapes = sorted(tuple(each.shape) for each in made.parameters())
    assert shapes == sorted(shape for _, shape in expected(name, part.settings, part.class_name))


def _made(part: PublishedPart) -> Any:
    import diffusers
    import transformers

    if (own := getattr(diffusers, part.class_name, None)) is not None:
        return own.from_config(dict(part.settings))
    cls = getattr(transformers, part.class_name)
    return cls(cls.config_class(**part.settings))
