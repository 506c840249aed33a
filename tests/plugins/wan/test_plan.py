"""The planned bytes against the bytes that a load reserves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.driving import I2V, T2V, TI2V, load, spec

from plugins import diffusers_backend, onnx_backend
from registry import Modality

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("options", [{}, {"dtype": "bf16"}, {"dtype": "fp16", "decoder_dtype": "bf16"}], ids=str)
@pytest.mark.parametrize(
    ("name", "modality"), [(T2V, Modality.T2V), (I2V, Modality.I2V), (TI2V, Modality.T2V), (TI2V, Modality.TI2V)]
)
def test_a_plan_is_what_is_reserved(
    family: Path, pool: Any, name: str, modality: Modality, options: dict[str, str]
) -> None:
    model = spec(family / name, modality, options)
    planned = diffusers_backend.plan_model(model, "cpu")
    load(model, pool)

    assert planned is not None
    reserved = sum(pool.reserved.values())
    # modules that are kept in fp32 are not in the plan
    assert reserved * (1.0 if not options else 0.9) <= planned <= reserved


def test_the_plan_of_one_with_clip_is_what_is_reserved(tiny: Path, pool: Any) -> None:
    model = spec(tiny / "flf2v-clip", Modality.FLF2V)
    load(model, pool)

    assert diffusers_backend.plan_model(model, "cpu") == sum(pool.reserved.values())


def test_the_plan_of_an_export_is_what_is_reserved(exports: Any, pool: Any) -> None:
    model = replace(spec(exports[T2V], Modality.T2V), backend="onnxruntime")
    model = replace(model, options=onnx_backend.declare_backend().options().load({}))  # type: ignore[misc]
    onnx_backend.load_model(model, "cpu", pool, lambda *_: None)

    assert onnx_backend.plan_model(model, "cpu") == sum(pool.reserved.values())


def test_a_folder_that_cannot_be_read_has_no_plan(tmp_path: Path) -> None:
    model = spec(tmp_path / "nothing", Modality.T2V)

    assert diffusers_backend.plan_model(model, "cpu") is None
    assert onnx_backend.plan_model(model, "cpu") is None
    assert diffusers_backend.plan_model(replace(model, folder=None), "cpu") is None
