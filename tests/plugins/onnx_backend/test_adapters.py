"""`framegate export --adapter`: the adapter is in the weights, and nowhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from support import low_rank as lora
from support.driving import T2V, TI2V, KeepingPool, load, run, spec, task, video
from support.likeness import require_same

from plugins import diffusers_backend as backend
from plugins import onnx_backend
from plugins.onnx_backend.command import _adapters, _entry
from plugins.wan import merged
from registry import Adapter, FlowShift, Modality, PerExpert
from router import GenerationFailed

pytestmark = pytest.mark.slow
pytest.importorskip("onnx")

STYLE = Adapter("style", "./a.safetensors", defaults={"steps": 4, "flow_shift": FlowShift(5.0, 5.0)})
ALWAYS = Adapter("always", "./b.safetensors", merge=True, strength=PerExpert(2.0, 0.5))


def quiet(*_: object) -> None:
    """No progress."""


def numerics(module: Any, model: Any) -> Any:
    return module.describe_numerics(**{"model": model} if module is onnx_backend else {"model": model, "task": task()})


def test_an_exported_adapter_gives_the_video_of_side_products(family: Path, tmp_path: Path, pool: Any) -> None:
    from plugins.onnx_backend.export.folder import Source, export
    from plugins.wan.weights.adapters.merge import MergedAdapters

    model, asked = spec(family / TI2V, Modality.TI2V), task(width=32, height=32, num_frames=5, steps=2)
    loaded = load(model, pool)
    path = lora.write(tmp_path / "a.safetensors", lora.kohya(lora.pairs(loaded.parts["transformer"])))
    style, used = lora.adapter(path), lora.use("style", strength=0.5)
    source = Source(family / TI2V, "x", None, MergedAdapters(((style, used[0]),)))

    export(source, tmp_path / "out", "fp32", quiet)

    expected = video(run(lora.having(model, style), loaded, replace(asked, adapters=used)))
    graphs = replace(model, folder=tmp_path / "out", options={})
    by_graph = onnx_backend.load_model(graphs, "cpu", KeepingPool(), quiet)
    require_same(video(onnx_backend.generate(graphs, by_graph, asked, quiet)), expected)
    by_torch = replace(model, folder=tmp_path / "out")
    require_same(video(run(by_torch, load(by_torch, KeepingPool()), asked)), expected)
    for module in (backend, onnx_backend):
        assert numerics(module, replace(model, source=str(tmp_path / "out"))).lossy == ("adapter style",)
        assert numerics(module, replace(model, source=str(family / TI2V))).lossy == ()
    with pytest.raises(GenerationFailed, match="runs no adapters, style"):
        onnx_backend.generate(lora.having(graphs, style), by_graph, replace(asked, adapters=used), quiet)


def test_the_command_takes_adapters_of_the_entry_by_name(family: Path) -> None:
    model = lora.having(spec(family / TI2V, Modality.TI2V), STYLE, ALWAYS)

    assert [(used.name, used.high, used.low) for _, used in _adapters(model, ["style=0.7"])] == [
        ("always", 2.0, 0.5),
        ("style", 0.7, 0.7),
    ]
    assert [used.high for _, used in _adapters(model, [])] == [2.0]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("other", "has the adapters style, always, got other"), ("always", "merged already"), ("style=x", "a number"),
     ("style=nan", "a number"), ("style=11", "a number"), ("style=0", "other than 0, got 0"), ("../a.safetensors", "got ../a.safetensors")],
)  # fmt: skip
def test_the_command_refuses_other_adapters_in_words(family: Path, wanted: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        _adapters(lora.having(spec(family / TI2V, Modality.TI2V), STYLE, ALWAYS), [wanted])


def test_the_entry_has_the_defaults_of_what_is_merged(family: Path, tmp_path: Path) -> None:
    model = lora.having(spec(family / TI2V, Modality.TI2V), STYLE)

    lines = list(_entry(model, tmp_path, _adapters(model, ["style"])))

    assert lines[-1] == "  defaults: {steps: 4, flow_shift: 5.0}"


@pytest.mark.parametrize(
    ("name", "modality", "last"),
    [(TI2V, Modality.TI2V, "{guidance_scale: 2.0}"),
     (T2V, Modality.T2V, "{guidance_scale: 2.0, guidance_scale_2: 2.0}")],
)  # fmt: skip
def test_the_guidance_of_the_second_expert_follows_the_first(
    family: Path, tmp_path: Path, name: str, modality: Modality, last: str
) -> None:
    guided = Adapter("guided", "./c.safetensors", defaults={"guidance_scale": 2.0})
    model = lora.having(spec(family / name, modality), guided)

    assert list(_entry(model, tmp_path, _adapters(model, ["guided"])))[-1] == f"  defaults: {last}"


def test_what_a_folder_had_in_its_weights_before_is_not_forgotten(tmp_path: Path) -> None:
    model = replace(spec(tmp_path, Modality.T2V), source=str(tmp_path))
    merged.write(tmp_path, {"style": (1.0, 1.0)})
    merged.write(tmp_path, {})
    assert merged.merged_in(model) == ("style",)
    merged.write(tmp_path, {"other": (0.5, 0.5)})

    merged._kept.cache_clear()  # it may have been written within one tick of the clock
    assert merged.merged_in(model) == ("style", "other")
