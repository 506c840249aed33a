"""Refuse inputs that the declared modality does not take, and say who would take them."""

from __future__ import annotations

from collections.abc import Set

from registry import BrokenModel, Input, Modality, ModelSpec, Registry, Route
from router.errors import InvalidRequest, ModalityMismatch, ModelUnavailable


def choose(entry: ModelSpec | Route, given: Set[Input], registry: Registry, param: str = "input") -> ModelSpec:
    """Return the model that runs a request to `entry`: itself, or a route's first member that takes the inputs.

    Raises `ModalityMismatch` about `param` when nobody does, before anything is fetched, queued or loaded, and
    `ModelUnavailable` where a member would, were its weights not broken.
    """
    candidates = registry.members(entry) if isinstance(entry, Route) else (entry,)
    for model in candidates:
        if model.modality.accepts(given):
            return model
    if isinstance(entry, Route) and (would := [each for each in registry.broken_members(entry) if _may(each, given)]):
        raise broken(*would)
    raise ModalityMismatch(f"{_what_is(entry, candidates, given)}. {_who_would(given, registry)}", param=param)


def broken(*models: BrokenModel) -> ModelUnavailable:
    """Return the refusal of entries whose weights cannot be served."""
    return ModelUnavailable("; ".join(f"{model.name} cannot be served: {model.reason}" for model in models))


def _may(model: BrokenModel, given: Set[Input]) -> bool:
    return model.modality is None or model.modality.accepts(given)


def check_frames(model: ModelSpec, given: Set[Input], num_frames: int, param: str) -> None:
    """Raise `InvalidRequest` about `param` for a single frame beside images that take its place."""
    if num_frames > 1:
        return
    if Input.LAST_IMAGE in given:
        why = "a first and a last frame are two"
    elif model.modality is Modality.TI2V and Input.IMAGE in given:
        why = "its first frame is the image itself"  # whatever the prompt says; an i2v model makes its own
    else:
        return
    message = (
        f"{model.name} is {model.modality.title}: with {_listed(given)} it makes 5 frames or more, got 1, as {why}"
    )
    raise InvalidRequest(message, param=param)


def _what_is(entry: ModelSpec | Route, candidates: tuple[ModelSpec, ...], given: Set[Input]) -> str:
    got = f"got {_listed(given)}" + (" only" if len(given) == 1 else "")
    if isinstance(entry, Route):
        kinds = ", ".join(f"{model.name} is {model.modality.title}" for model in candidates)
        return f"no member of {entry.name} takes this request ({kinds}): {got}"
    return f"{entry.name} is {entry.modality.title}: {_needed(entry, given)}, {got}"


def _needed(model: ModelSpec, given: Set[Input]) -> str:
    if lacking := model.modality.needs - given:
        return f"it needs {_listed(lacking)}"
    return f"it takes {_listed(model.modality.allows)} only"


def _who_would(given: Set[Input], registry: Registry) -> str:
    names = [model.name for model in registry.models if model.modality.accepts(given)]
    if not names:
        return "None of the models served here would take it"
    return f"Of the models served here, {_and(names)} would take it"


def _listed(inputs: Set[Input]) -> str:
    return _and([kind.phrase for kind in Input if kind in inputs]) or "nothing"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
