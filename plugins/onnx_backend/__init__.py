"""The ONNX Runtime backend: folders of `framegate export`, with transformers as graphs.

The text encoder and the VAE stay in torch: an engine that runs both backends holds them once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plugins.onnx_backend import record
from plugins.onnx_backend.options import OnnxOptions
from plugins.onnx_backend.record import FILE
from plugins.wan.merged import merged_in
from plugins.wan.plans.model_plan import plan
from router import (
    Backend,
    Frames,
    LoadFailed,
    Modality,
    ModelSpec,
    Numerics,
    PartPath,
    Plan,
    Pool,
    Report,
    Task,
    hookimpl,
)

if TYPE_CHECKING:
    import click


@hookimpl
def declare_backend() -> Backend:
    return Backend(
        name="onnxruntime",
        modalities=frozenset({Modality.T2V, Modality.I2V, Modality.TI2V, Modality.FLF2V}),
        options=OnnxOptions,
        requires=("torch", "diffusers", "transformers", "onnx", "onnxruntime"),
        extra="onnx",
        index=FILE,
        made_by="framegate export MODEL -o FOLDER",
        merged_by="framegate export MODEL --adapter NAME -o FOLDER",
    )


@hookimpl
def load_model(model: ModelSpec, device: str, pool: Pool, report: Report) -> Any:
    from plugins.onnx_backend.load import load

    return load(model, device, pool, report)


@hookimpl
def plan_model(model: ModelSpec, device: str) -> Plan | None:
    if model.folder is None:
        return None
    try:
        return plan(model, device, record.read(model.folder).dtype)
    except LoadFailed:
        return None  # loading will report the error


@hookimpl
def describe_numerics(model: ModelSpec) -> Numerics:
    # TensorRT times its kernels whenever it builds an engine
    may_vary_with = ("tensorrt",) if model.options.get("provider") == "tensorrt" else ()
    return Numerics(not may_vary_with, tuple(f"adapter {name}" for name in merged_in(model)), may_vary_with)


@hookimpl
def describe_loaded(loaded: Any) -> Mapping[str, PartPath]:
    return {
        name: PartPath(f"onnxruntime-{part.provider}")
        for name, part in loaded.parts.items()
        if name.startswith("transformer")
    }


@hookimpl
def generate(model: ModelSpec, loaded: Any, task: Task, report: Report) -> Frames:
    from plugins.wan.generate.run import run

    return run(model, loaded, task, report)


@hookimpl
def unload_model(loaded: Any, gone: bool) -> None:
    loaded.drop(gone)


@hookimpl
def add_commands(cli: click.Group) -> None:
    from plugins.onnx_backend.command import export

    cli.add_command(export)
