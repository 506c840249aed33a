"""The published recipe of four steps on the layout of Wan 2.2 A14B."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins import diffusers_backend, onnx_backend
from plugins.wan import checkpoint
from plugins.wan.generate.sample import _expert
from plugins.wan.generate.schedulers import Schedulers
from plugins.wan.weights.placement import class_of
from registry import ModelSpec
from registry.loader import load_text

pytest.importorskip("torch")
BACKENDS = [diffusers_backend.declare_backend(), onnx_backend.declare_backend()]
PUBLISHED = [999, 937, 833, 625]  # of LightX2V's list 1000, 750, 500, 250 at a shift of 5


def lightning(tmp_path: Path, family: str) -> ModelSpec:
    repo = {"t2v": "Wan-AI/Wan2.2-T2V-A14B-Diffusers", "i2v": "Wan-AI/Wan2.2-I2V-A14B-Diffusers"}[family]
    entry = f"{{source: {repo}, backend: diffusers, adapters: {{lightning: wan2.2-{family}-lightning}}}}"
    return load_text(f"models: {{a: {entry}}}", tmp_path / "models.yaml", BACKENDS).models[0]


@pytest.mark.parametrize(("kind", "boundary"), [("t2v", 0.875), ("i2v", 0.9)])
def test_lightning_has_its_published_timesteps_and_two_steps_an_expert(
    family: Path, tmp_path: Path, kind: str, boundary: float
) -> None:
    (adapter,) = lightning(tmp_path, kind).adapters
    steps: Any = adapter.defaults["steps"]
    shift: Any = adapter.defaults["flow_shift"]
    layout = checkpoint.read(family / f"wan-nano-{kind}")  # the parts and the boundary of A14B
    part = layout.parts["scheduler"]
    scheduler = Schedulers(class_of(part), dict(part.config)).new(shift.at(832, 480))

    scheduler.set_timesteps(steps)

    assert layout.folder.boundary_ratio == boundary
    assert [int(each) for each in scheduler.timesteps] == PUBLISHED
    pipe = SimpleNamespace(config=SimpleNamespace(boundary_ratio=boundary), scheduler=scheduler)
    assert [_expert(pipe, n) for n in (1, 2, 3, 4)] == ["transformer"] * 2 + ["transformer_2"] * 2
    assert adapter.defaults["guidance_scale"] == adapter.defaults["guidance_scale_2"] == 1
    assert adapter.files.high != adapter.files.low
