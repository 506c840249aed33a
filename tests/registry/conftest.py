"""Backends without plugins, and a models file in a temporary folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from marshmallow import Schema, fields, validate

from registry import Modality, Registry, RegistryError
from registry.errors import Problem
from registry.loader import load


class StubOptions(Schema):
    dtype = fields.Str(load_default="auto", validate=validate.OneOf(["auto", "bf16"]))


@dataclass(frozen=True)
class StubBackend:
    name: str
    modalities: frozenset[Modality]
    options: type[Schema] | None = None
    index: str | None = None
    runs_adapters: bool = False
    merged_by: str = ""


@pytest.fixture
def backends() -> tuple[StubBackend, ...]:
    """Backends with options and adapters, for text alone, and without weights."""
    everything = frozenset(Modality)
    return (
        StubBackend("diffusers", everything, StubOptions, "model_index.json", runs_adapters=True),
        StubBackend("onnx", frozenset({Modality.T2V}), merged_by="framegate export MODEL --adapter NAME"),
        StubBackend("still", everything),
    )


@pytest.fixture
def read(tmp_path: Path, backends: tuple[StubBackend, ...]) -> Callable[[str | bytes], Registry]:
    """Load a models file with this content."""

    def read(content: str | bytes) -> Registry:
        path = tmp_path / "models.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(path, backends)

    return read


@pytest.fixture
def problems(read: Callable[[str | bytes], Registry]) -> Callable[[str | bytes], tuple[Problem, ...]]:
    """Return what is wrong with a models file of this content."""

    def problems(content: str | bytes) -> tuple[Problem, ...]:
        with pytest.raises(RegistryError) as caught:
            read(content)
        return caught.value.problems

    return problems
