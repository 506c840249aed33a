"""The planned bytes against the bytes that a load reserves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.driving import I2V, T2V, TI2V, load, spec

from plugins import diffusers_backend, onnx_backend
from plugins.wan.plans.known_parts import KnownPart
from plugins.wan.plans.part_bytes import KEPT_BESIDE_FP16, KEPT_IN_FP32, Formats, Stored
from registry import Modality, ModelSpec
from router import Plan

pytestmark = pytest.mark.slow


def planned(model: ModelSpec, device: str = "cpu", backend: Any = diffusers_backend) -> Plan:
    plan = backend.plan_model(model, device)
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "bf16"}, {"dtype": "fp16", "decoder_dtype": "bf16"}, {"weights": "fp8"}], ids=str
)
@pytest.mark.parametrize(
    ("name", "modality"), [(T2V, Modality.T2V), (I2V, Modality.I2V), (TI2V, Modality.T2V), (TI2V, Modality.TI2V)]
)
def test_a_plan_is_what_is_reserved(
    family: Path, pool: Any, name: str, modality: Modality, options: dict[str, str]
) -> None:
    model = spec(family / name, modality, options)
    plan = planned(model)
    load(model, pool)

    assert plan.device_bytes == sum(pool.reserved.values())


def test_the_plan_of_group_offload_is_what_is_reserved_and_the_rest_on_the_host(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V, {"group_offload": True})
    whole, plan = planned(replace(model, options={**model.options, "group_offload": False})), planned(model)
    load(model, pool)

    assert plan.device_bytes == sum(pool.reserved.values())
    assert plan.host_bytes + sum(part.device_bytes for part in plan.parts if not part.host_bytes) == whole.device_bytes


def test_the_plan_of_one_with_clip_is_what_is_reserved(tiny: Path, pool: Any) -> None:
    model = spec(tiny / "flf2v-clip", Modality.FLF2V)
    load(model, pool)

    assert planned(model).device_bytes == sum(pool.reserved.values())


def test_the_plan_of_an_export_is_what_is_reserved(exports: Any, pool: Any) -> None:
    model = replace(spec(exports[T2V], Modality.T2V), backend="onnxruntime")
    model = replace(model, options=onnx_backend.declare_backend().options().load({}))  # type: ignore[misc]
    onnx_backend.load_model(model, "cpu", pool, lambda *_: None)

    assert planned(model, backend=onnx_backend).device_bytes == sum(pool.reserved.values())


def test_a_folder_that_cannot_be_read_has_no_plan(tmp_path: Path) -> None:
    model = spec(tmp_path / "nothing", Modality.T2V)

    assert diffusers_backend.plan_model(model, "cpu") is None
    assert onnx_backend.plan_model(model, "cpu") is None
    assert diffusers_backend.plan_model(replace(model, folder=None), "cpu") is None


def test_models_of_equal_files_share_their_parts(family: Path) -> None:
    one, other = (planned(spec(family / name, Modality.T2V), "cuda:0") for name in (T2V, TI2V))
    shared = {part.identity for part in one.parts} & {part.identity for part in other.parts}

    assert {part.name for part in one.parts if part.identity in shared} == {"text_encoder", "vae_decoder"}


def test_the_numbers_of_one_option_do_not_share_with_those_of_another(family: Path) -> None:
    plain, quantised = (
        planned(spec(family / T2V, Modality.T2V, options), "cuda:0") for options in ({}, {"weights": "fp8"})
    )
    shared = {part.identity for part in plain.parts} & {part.identity for part in quantised.parts}

    assert {part.name for part in plain.parts if part.identity in shared} == {"text_encoder", "vae_decoder"}


@pytest.mark.parametrize("change", [0, 1, 2, 3])
def test_an_alternative_has_the_bytes_of_its_options(family: Path, change: int) -> None:
    model = spec(family / T2V, Modality.T2V)
    known = [each for each in planned(model, "cuda:0").alternatives if not each.files]
    other = known[change % len(known)]

    configured = planned(replace(model, options={**model.options, **other.options}), "cuda:0")

    assert (configured.device_bytes, configured.host_bytes) == (other.plan.device_bytes, other.plan.host_bytes)
    assert configured.device_bytes < planned(model, "cuda:0").device_bytes


def test_the_modules_kept_in_fp32_are_those_of_the_classes() -> None:
    diffusers, transformers = pytest.importorskip("diffusers"), pytest.importorskip("transformers")
    classes = {name: getattr(diffusers, name) for name in ("WanTransformer3DModel", "AutoencoderKLWan")}
    of_fp16 = {name: getattr(transformers, name) for name in ("UMT5EncoderModel", "CLIPVisionModel")}

    assert {name: set(kept) for name, kept in KEPT_IN_FP32.items()} == {
        name: set(each._keep_in_fp32_modules) for name, each in classes.items() if each._keep_in_fp32_modules
    }
    assert {name: set(kept) for name, kept in KEPT_BESIDE_FP16.items()} == {
        name: set(each._keep_in_fp32_modules) for name, each in of_fp16.items() if each._keep_in_fp32_modules
    }
    assert not any(each._keep_in_fp32_modules_strict for each in of_fp16.values())


def test_merged_adapters_change_the_blocks_of_transformers_alone() -> None:
    plain, merging = Formats("bf16", "bf16"), Formats("bf16", "bf16", merging=True)
    names = {
        "transformer": "blocks.0.ffn.net.2.weight",
        "text_encoder": "encoder.block.0.layer.1.DenseReluDense.wo.weight",
    }

    for part, name in names.items():
        known = KnownPart(part, "", {}, {name: Stored("Q4_K", (256, 256))}, part)
        assert known.sizes(plain).format == "Q4_K"
        assert known.sizes(merging).format == ("int8" if part == "transformer" else "Q4_K")
