"""What the numbers of a job depend on, by the options of its model."""

from dataclasses import replace
from typing import Any

import pytest

from plugins import diffusers_backend, onnx_backend
from registry import Defaults, FlowShift, Input, Limits
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


@pytest.mark.parametrize("provider", ["auto", "cpu", "cuda", "tensorrt"])
def test_tensorrt_alone_may_vary(provider: str) -> None:
    varies = provider == "tensorrt"

    found = onnx_backend.describe_numerics(model("onnxruntime", provider=provider))

    assert found == Numerics(not varies, (), ("tensorrt",) if varies else ())
