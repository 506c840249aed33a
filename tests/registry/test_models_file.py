"""The models.yaml that comes with the repository."""

from pathlib import Path

import pytest

from registry import Registry
from registry.loader import BackendInfo, load

FILE = Path(__file__).parents[2] / "models.yaml"


@pytest.fixture
def registry(backends: tuple[BackendInfo, ...]) -> Registry:
    return load(FILE, backends)


def test_a_request_without_a_model_goes_to_the_embedded_family(registry: Registry) -> None:
    assert registry.default == "wan-nano"


def test_the_routes_ask_text_models_first_and_the_model_for_both_last(registry: Registry) -> None:
    asked = {route.name: [model.modality.word for model in registry.members(route)] for route in registry.routes}
    assert asked == {"wan-nano": ["t2v", "i2v", "ti2v"], "wan2.2": ["t2v", "i2v", "ti2v"]}


def test_every_model_is_of_a_known_family_and_downloads_nothing_unasked(registry: Registry) -> None:
    assert all(model.family == model.name for model in registry.models)
    assert not any(model.download for model in registry.models)


def test_the_embedded_family_comes_with_the_package(registry: Registry) -> None:
    sources = [model.source for model in registry.models if model.name.startswith("wan-nano")]
    assert sources == ["embedded:wan-nano-t2v", "embedded:wan-nano-i2v", "embedded:wan-nano-ti2v"]


def test_a_client_may_name_the_published_repository(registry: Registry) -> None:
    assert registry.find("Wan-AI/Wan2.2-T2V-A14B-Diffusers") is registry.find("wan2.2-t2v-a14b")


def test_the_embedded_family_and_the_largest_have_adapters_that_none_uses_unasked(registry: Registry) -> None:
    named = {model.name: [adapter.name for adapter in model.adapters] for model in registry.models if model.adapters}

    assert named == {
        "wan-nano-t2v": ["fast4", "noir"],
        "wan-nano-i2v": ["fast4"],
        "wan-nano-ti2v": ["fast4"],
        "wan2.2-t2v-a14b": ["lightning"],
        "wan2.2-i2v-a14b": ["lightning"],
    }
    assert not any(model.default_adapters or model.merged for model in registry.models)
