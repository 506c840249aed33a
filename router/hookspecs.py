"""Every hook, on one page.

pluggy orders and wraps implementations: `tryfirst`, `trylast`, `wrapper` and `hookwrapper` work as in its
documentation, and an implementation may take fewer arguments than its spec. A hook of "first result" stops at the
first answer that is not None. A hook with a `model` calls the backend of that model, and no other backend; listeners
and policies, plugins that declare no backend, are always called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from registry import ModelSpec
from router.values import Backend, Frames, Job, Numerics, Panel, PartPath, Plan, Pool, Report, Task

if TYPE_CHECKING:  # an engine never imports Flask
    import click
    from flask import Flask

PROJECT = "framegate"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def declare_backend() -> Backend:  # type: ignore[empty-body]
    """Return the plugin's one `Backend`; runs in both halves, so import nothing heavy."""


@hookspec
def check_request(model: ModelSpec, task: Task) -> None:
    """Raise a `RequestError`, such as `Refused`, to refuse a request.

    Runs in the web half, after the gate.

    `task` is the job's task at its final size. Where an image decides the size (its aspect, at the model's area), that
    image has been fetched and its header read; otherwise none has been fetched. No image has been decoded. Called once
    for each request, but not for one that an idempotency key answers with an earlier job.
    """


@hookspec(firstresult=True)
def load_model(model: ModelSpec, device: str, pool: Pool, report: Report) -> object:
    """Load `model` from `model.folder` onto `device`, such as `cpu` or `cuda:0`.

    Return any object but None: `generate` gets it as `loaded`. Parts that other models may share come from `pool`.
    Raise `LoadFailed` with what is missing. What is loaded must not depend on the model's defaults, limits and
    aliases: they can change while it stays loaded.
    """


@hookspec(firstresult=True)
def plan_model(model: ModelSpec, device: str) -> Plan | int:  # type: ignore[empty-body]
    """Return the `Plan` of `model` on `device`, or its weights' least bytes there.

    None if that is unknown. Runs in both halves and in commands: read the headers of the files, and import nothing
    heavy. `model.folder` is None where the weights are not on this machine. A model of more bytes than the device's
    budget is refused before it is queued; its alternatives are the advice.
    """


@hookspec(firstresult=True)
def describe_numerics(model: ModelSpec, task: Task) -> Numerics:  # type: ignore[empty-body]
    """Return what the numbers of `task` depend on, by the options of `model`.

    Runs in the web half before the job is stored, so import nothing heavy. Without an answer the backend's
    `deterministic` says whether it is reproducible.
    """


@hookspec(firstresult=True)
def describe_loaded(model: ModelSpec, loaded: Any) -> Mapping[str, PartPath]:  # type: ignore[empty-body]
    """Return the code path of each part, such as `{"transformer": PartPath("fast")}`.

    Called after the load and after each job, in the thread that runs them; an error is logged. `framegate models`,
    `/v1/models` and the metric `framegate_model_path` show it.
    """


@hookspec(firstresult=True)
def generate(model: ModelSpec, loaded: Any, task: Task, report: Report) -> Frames:  # type: ignore[empty-body]
    """Return the `Frames` of `task`; call `report(step, steps)` after each step.

    `report` raises `JobCancelled` when the job must stop: let it pass. Raise `OutOfMemory`,
    `NumericalError` or `GenerationFailed` for what the caller should read.
    """


@hookspec(firstresult=True)
def encode_output(model: ModelSpec, frames: Frames, path: Path) -> bool:  # type: ignore[empty-body]
    """Write `frames` to `path` and return True; decline with None before reading a frame.

    The suffix of `path` is `.mp4`, or `.png` for a single frame.
    """


@hookspec
def unload_model(model: ModelSpec, loaded: Any, gone: bool) -> None:
    """Free what `load_model` made, at eviction and at shutdown.

    The pool frees its own parts. `gone` says whether weights leave the memory now; else all of them stay for other
    models, or wait on the host. An error is logged: it stops no other implementation, and the model counts as gone.
    """


@hookspec
def job_changed(job: Job) -> None:
    """Handle a change of a job's status.

    Called by the process that made the change, after it is stored. A process killed in between calls nothing: read
    the store for what must not be missed. An error is logged, and stops no other implementation.
    """


@hookspec
def configure_app(app: Flask) -> None:
    """Add routes, authentication or metrics to the web application; an error stops the boot."""


@hookspec
def open_paths() -> Iterable[str]:  # type: ignore[empty-body]
    """Return paths of the plugin that need no key to read.

    For GET and HEAD; an error stops the boot. Each is a whole path, such as `/colours.json`, and none of Framegate's
    own.
    """


@hookspec
def studio_panel() -> Panel:  # type: ignore[empty-body]
    """Return the plugin's one `Panel`, a tab of the studio.

    An error stops the boot. `configure_app` adds the route of its script, which needs no key, as those of `open_paths`.
    """


@hookspec
def add_commands(cli: click.Group) -> None:
    """Add subcommands to `framegate`, and replace none.

    A plugin file must then be in `FRAMEGATE_PLUGINS`, which is read first. Subcommands also get `--models`,
    `--data` and `--plugin`, as changes of the environment. Their context's object (`click.pass_obj`) is a function:
    given a model's name it returns its `ModelSpec`, `folder` filled in, and `paths` of its adapters on this machine.
    """
