"""The diffusers backend: Wan pipelines on PyTorch, from a folder in the diffusers layout.

The heavy libraries are imported by the modules behind these hooks, and those only inside functions,
so that the web half can ask for the declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plugins.diffusers_backend import numerics
from plugins.diffusers_backend.options import DiffusersOptions
from plugins.diffusers_backend.plan import plan
from router import Backend, Frames, Modality, ModelSpec, Numerics, PartPath, Plan, Pool, Report, Task, hookimpl

if TYPE_CHECKING:
    import click

    from plugins.wan.load import Loaded


@hookimpl
def declare_backend() -> Backend:
    return Backend(
        name="diffusers",
        modalities=frozenset({Modality.T2V, Modality.I2V, Modality.TI2V, Modality.FLF2V}),
        options=DiffusersOptions,
        requires=("torch", "diffusers", "transformers"),
        extra="diffusers",
        index="model_index.json",
        runs_adapters=True,
    )


@hookimpl
def load_model(model: ModelSpec, device: str, pool: Pool, report: Report) -> Loaded:
    from plugins.diffusers_backend.load import load

    return load(model, device, pool, report)


@hookimpl
def plan_model(model: ModelSpec, device: str) -> Plan | None:
    return plan(model, device)


@hookimpl
def describe_numerics(model: ModelSpec, task: Task) -> Numerics:
    return numerics.describe(model, task)


@hookimpl
def describe_loaded(loaded: Loaded) -> Mapping[str, PartPath]:
    return loaded.paths.now if loaded.paths else {}


@hookimpl
def generate(model: ModelSpec, loaded: Loaded, task: Task, report: Report) -> Frames:
    from plugins.wan.generate.run import run

    return run(model, loaded, task, report)


@hookimpl
def unload_model(loaded: Loaded, gone: bool) -> None:
    loaded.drop(gone)


@hookimpl
def add_commands(cli: click.Group) -> None:
    from plugins.diffusers_backend.command import convert

    cli.add_command(convert)
