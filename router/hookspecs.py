"""Every hook, on one page.

An implementation may take fewer arguments than its spec. "First result" hooks stop at the first
answer that is not None. For a hook that is about a model, the backend that owns the model answers and
the other backends are not asked; listeners and policies, plugins that declare no backend, hear every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from registry import ModelSpec
from router.values import Backend, Frames, Job, PartPath, Pool, Report, Task

if TYPE_CHECKING:  # an engine never imports Flask
    import click
    from flask import Flask

PROJECT = "framegate"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def declare_backend() -> Backend:  # type: ignore[empty-body]
    """Return the one `Backend` that this plugin brings. Runs in both halves: import nothing heavy."""


@hookspec
def check_request(model: ModelSpec, task: Task) -> None:
    """Raise a `RequestError` (such as `Refused`) to turn a request away; runs after the gate, in the web half.

    `task` is the task of the job, with its final size: where an image came without a size, the image's aspect at the
    model's area. Only then has that image been fetched and its header read before; no image has been decoded. Called
    once a request; a request that an idempotency key answers with an earlier job is not checked again.
    """


@hookspec(firstresult=True)
def load_model(model: ModelSpec, device: str, pool: Pool, report: Report) -> object:
    """Load `model` from `model.folder` onto `device` (`cpu`, `cuda:0`) and return whatever `generate` wants, not None.

    Parts that other models may share come from `pool`. Raise `LoadFailed` with what is missing. What is loaded must
    not depend on the model's defaults, limits and aliases: they can change while it stays loaded.
    """


@hookspec(firstresult=True)
def plan_model(model: ModelSpec, device: str) -> int:  # type: ignore[empty-body]
    """Return how many bytes of weights `model` takes of `device` at least, by its files; None where nobody can say.

    Asked by an engine that has loaded nothing yet, so import nothing heavy. A model of more bytes than the device's
    budget is refused before it is queued.
    """


@hookspec(firstresult=True)
def describe_loaded(model: ModelSpec, loaded: Any) -> Mapping[str, PartPath]:  # type: ignore[empty-body]
    """Return by which code each part of a loaded model runs, such as `{"transformer": PartPath("fast")}`.

    Asked after the load and after each job, in the thread that runs them; what it raises is logged. `framegate models`,
    `/v1/models` and the metric `framegate_model_path` show it.
    """


@hookspec(firstresult=True)
def generate(model: ModelSpec, loaded: Any, task: Task, report: Report) -> Frames:  # type: ignore[empty-body]
    """Return the `Frames` of `task`; call `report(step, steps)` after each step.

    `report` raises `JobCancelled` when the job is to stop: let it pass. Raise `OutOfMemory`,
    `NumericalError` or `GenerationFailed` for what the caller should read.
    """


@hookspec(firstresult=True)
def encode_output(model: ModelSpec, frames: Frames, path: Path) -> bool:  # type: ignore[empty-body]
    """Write `frames` to `path` and return True; decline with None before reading a frame.

    The suffix of `path` is `.mp4`, or `.png` for a single frame.
    """


@hookspec
def unload_model(model: ModelSpec, loaded: Any, gone: bool) -> None:
    """Free what `load_model` made, at eviction and at shutdown; parts from the pool are the pool's to free.

    `gone` says whether weights leave the memory now; else all of them stay for others, or wait on the host.
    """


@hookspec
def job_changed(job: Job) -> None:
    """Hear of a change of status; an exception is logged and harms nobody.

    Called by the process that made the change, after it is stored: a process that is killed in
    between says nothing, so what must not be missed is read from the store.
    """


@hookspec
def configure_app(app: Flask) -> None:
    """Add routes, authentication or metrics to the web application."""


@hookspec
def add_commands(cli: click.Group) -> None:
    """Add subcommands to `framegate`; a plugin file must then be in `FRAMEGATE_PLUGINS`, which is read first.

    They also get `--models`, `--data` and `--plugin`, as changes of the environment. Their context's object
    (`click.pass_obj`) is a function: given a model's name it returns its `ModelSpec`, `folder` filled in.
    """
