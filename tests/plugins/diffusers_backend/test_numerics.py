"""What the numbers of a job depend on, by the options of its model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugins import diffusers_backend, onnx_backend
from registry import Defaults, FlowShift, Input, Limits
from registry.parts import PartFile
from router import Modality, ModelSpec, Numerics, Task, UsedAdapter

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
ADAPTED = replace(TASK, adapters=(UsedAdapter("fast4"), UsedAdapter("noir", 0.5, 0.5)))


def model(backend: str, **options: Any) -> ModelSpec:
    defaults = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
    return ModelSpec("m", backend, Modality.T2V, defaults, Limits(9999, 9, 9), 16, options=options)


@pytest.mark.parametrize(
    ("options", "may_vary_with"),
    [
        ({}, ()),
        ({"fast": True}, ()),
        ({"fast": False}, ()),
        ({"fast": {"compile": True}}, ("compile",)),
        ({"fast": {"compile": True, "measured_attention": True, "gelu_epilogue": True}},
         ("compile", "measured_attention", "gelu_epilogue")),
        ({"fast": {"measured_attention": True}, "attention": "native"}, ()),
        ({"fast": {"gelu_epilogue": True}, "attention": "native"}, ("gelu_epilogue",)),
        ({"fast": {"compile": True, "transformer": False}}, ()),
    ],
)  # fmt: skip
def test_diffusers_is_reproducible_unless_a_switch_says_otherwise(
    options: dict[str, Any], may_vary_with: tuple[str, ...]
) -> None:
    found = diffusers_backend.describe_numerics(model("diffusers", **options), TASK)

    assert found == Numerics(not may_vary_with, (), may_vary_with)


def test_each_adapter_changes_the_numbers_of_the_model() -> None:
    found = diffusers_backend.describe_numerics(model("diffusers", fast={"compile": True}), ADAPTED)

    assert found == Numerics(False, ("adapter fast4", "adapter noir"), ("compile",))


@pytest.mark.parametrize(
    ("options", "lossy"),
    [
        ({"weights": "fp8"}, ("weights fp8",)),
        ({"weights": "int8"}, ("weights int8",)),
        ({"weights": "fp8", "matmul": "fp8"}, ("weights fp8", "matmul fp8")),
        ({"weights": "dense"}, ()),
    ],
)
def test_quantised_weights_are_named(options: dict[str, Any], lossy: tuple[str, ...]) -> None:
    found = diffusers_backend.describe_numerics(model("diffusers", **options), TASK)

    assert found == Numerics(True, lossy, ())


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "more"), [("auto", ()), ("dense", ()), ("int8", ("weights int8",))])
def test_files_in_codes_are_named(weights: str, more: tuple[str, ...], tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    from nano.family import link_family
    from tests.support import weight_files

    link_family(tmp_path)
    folder = tmp_path / "wan-nano-ti2v"
    encoder = safetensors.load_file(folder / "text_encoder" / "model.safetensors")
    transformer = safetensors.load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    files = {
        "transformer": weight_files.write_safetensors(tmp_path / "a.safetensors", weight_files.plain_fp8(transformer)),
        "text_encoder": weight_files.write_gguf(tmp_path / "b.gguf", encoder, "t5encoder", "Q8_0"),
    }
    parts = {part: PartFile(str(path)) for part, path in files.items()}
    spec = replace(model("diffusers", weights=weights), source=str(folder), parts=parts)

    found = diffusers_backend.describe_numerics(spec, TASK)

    assert found.lossy == ("text encoder Q8_0", "weights fp8", *more)


@pytest.mark.parametrize("provider", ["auto", "cpu", "cuda", "tensorrt"])
def test_tensorrt_alone_may_vary(provider: str) -> None:
    varies = provider == "tensorrt"

    found = onnx_backend.describe_numerics(model("onnxruntime", provider=provider))

    assert found == Numerics(not varies, (), ("tensorrt",) if varies else ())
