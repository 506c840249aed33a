"""The adapters of a task, with their files on this machine."""

from dataclasses import replace
from typing import Any

from registry import ModelSpec
from router.catalog.weights import Weights
from router.engine.reporter import Phases
from router.errors import LoadFailed
from router.values import Phase, Task, UsedAdapter


def with_adapters(weights: Weights, model: ModelSpec, task: Task, phases: Phases) -> ModelSpec:
    """Return a loaded model with the files of the task's adapters in `paths`.

    Merged ones have theirs since the load. Raises what `Weights.obtain_adapters` raises, and `LoadFailed` where the
    merged ones are not those of the task.
    """
    _check_merged(model, task)
    merged = {each.name: each.merge for each in model.adapters}
    if unknown := [used.name for used in task.adapters if used.name not in merged]:
        raise LoadFailed(f"{model.name} has no adapter {unknown[0]!r} any more")
    names = [used.name for used in task.adapters if not merged[used.name]]
    return weights.obtain_adapters(model, names, phases(Phase.DOWNLOAD)) if names else model


def _check_merged(model: ModelSpec, task: Task) -> None:
    """Raise `LoadFailed` if the weights have adapters that the job was not accepted with."""
    used = {each.name: (each.high, each.low) for each in task.adapters}
    for adapter in model.merged:
        strength = used.get(adapter.name)
        if strength is None:
            raise LoadFailed(f"{model.name} has the adapter {adapter.name} in its weights now, the job is without it")
        if strength[: model.experts] != adapter.strength[: model.experts]:
            raise LoadFailed(f"{model.name} has the adapter {adapter.name} in its weights now, at another strength")


def with_defaults(model: ModelSpec, task: Task) -> Task:
    """Return a task with the default adapters and their guidance."""
    chosen = [each for each in model.adapters if each.merge or each.name in model.default_adapters]
    used = sorted((each for each in chosen if any(each.strength)), key=lambda each: not each.merge)
    guidance: dict[str, Any] = {}  # a task without guidance runs in other shapes
    for each in used:
        if "guidance_scale" in each.defaults:
            guidance["guidance_scale_2"] = None
        guidance |= {name: value for name, value in each.defaults.items() if name.startswith("guidance_scale")}
    return replace(task, adapters=tuple(UsedAdapter(each.name, *each.strength) for each in used), **guidance)
