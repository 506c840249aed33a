"""The gate: a model for a request's name and inputs, ready for jobs."""

from collections.abc import Callable, Mapping, Set

from registry import BrokenModel, Input, Modality, ModelSpec, Registry, Route
from router.accounting.budgets import Need
from router.errors import InvalidRequest, ModalityMismatch, ModelUnavailable, UnknownModel
from router.intake.availability import Availability, no_engine
from router.jobs import QueueLimits
from router.system import System
from router.values import UsedAdapter

Available = Callable[[Registry], Mapping[str, Availability]]  # by the name of a model
NOW, ONCE_FETCHED = Availability.NOW, Availability.ONCE_FETCHED


def find(name: str | None, registry: Registry) -> ModelSpec | Route:
    """Return the model or route of this name, the default for None.

    Raises `UnknownModel` with the names of what is served, `ModelUnavailable` for a model with broken weights.
    """
    wanted = registry.default if name is None else name
    entry = registry.find(wanted) if wanted else None
    if entry is None:
        served = ", ".join(e.name for e in registry.entries)
        raise UnknownModel(f"no model is called {str(wanted)[:128]!r}; served here: {served}", param="model")
    if isinstance(entry, BrokenModel):
        raise broken(entry)
    return entry


def choose(
    entry: ModelSpec | Route, kinds: Set[Input], registry: Registry, available: Available, param: str = "input"
) -> ModelSpec:
    """Return the entry itself, or a route's first member for inputs of these kinds.

    Raises `ModalityMismatch` about `param` when no model takes the inputs, before anything is fetched, queued or
    loaded, and `ModelUnavailable` where a member with broken weights would. The mismatch recommends models that are
    `available`.
    """
    candidates = registry.members(entry) if isinstance(entry, Route) else (entry,)
    for model in candidates:
        if model.modality.accepts(kinds):
            return model
    failed = registry.broken_members(entry) if isinstance(entry, Route) else ()
    if would := [each for each in failed if each.modality is None or each.modality.accepts(kinds)]:
        raise broken(*would)
    advice = _alternatives(kinds, registry, available)
    raise ModalityMismatch(f"{_mismatch(entry, candidates, kinds)}. {advice}", param=param)


def broken(*models: BrokenModel) -> ModelUnavailable:
    """Return the refusal of entries whose weights cannot be served."""
    return ModelUnavailable("; ".join(f"{model.name} cannot be served: {model.reason}" for model in models))


def check_frames(model: ModelSpec, kinds: Set[Input], num_frames: int, param: str) -> None:
    """Raise `InvalidRequest` about `param` for a single frame that an image would fill."""
    if num_frames > 1:
        return
    if Input.LAST_IMAGE in kinds:
        why = "a first and a last frame are two"
    elif model.modality is Modality.TI2V and Input.IMAGE in kinds:
        why = "its first frame is the image itself"  # whatever the prompt says; an i2v model makes its own
    else:
        return
    message = (
        f"{model.name} is {model.modality.title}: with {_listed(kinds)} it makes 5 frames or more, got 1, as {why}"
    )
    raise InvalidRequest(message, param=param)


def check_available(
    system: System, model: ModelSpec, limits: QueueLimits, need: Need | None, adapters: tuple[UsedAdapter, ...] = ()
) -> None:
    """Raise an `Unavailable` if no job of model and adapters can be queued now."""
    if not system.database.is_shared:  # else the weights are where the engines are, which say what they lack
        system.weights.check(model)
        system.weights.check_adapters(model, adapters)
    system.disk.require()
    if (reason := no_engine(system, model, system.engines.seen())) is not None:
        raise ModelUnavailable(reason)
    system.jobs.check_limits(limits, need)


def _mismatch(entry: ModelSpec | Route, candidates: tuple[ModelSpec, ...], kinds: Set[Input]) -> str:
    got = f"got {_listed(kinds)}" + (" only" if len(kinds) == 1 else "")
    if isinstance(entry, Route):
        members = ", ".join(f"{model.name} is {model.modality.title}" for model in candidates)
        return f"no member of {entry.name} takes this request ({members}): {got}"
    absent = entry.modality.needs - kinds
    rule = f"it needs {_listed(absent)}" if absent else f"it takes {_listed(entry.modality.allows)} only"
    return f"{entry.name} is {entry.modality.title}: {rule}, {got}"


def _alternatives(kinds: Set[Input], registry: Registry, available: Available) -> str:
    taking = [model.name for model in registry.models if model.modality.accepts(kinds)]
    if not taking:
        return "None of the models served here would take it"
    known = available(registry)
    now, later = ([name for name in taking if known.get(name) is when] for when in (NOW, ONCE_FETCHED))
    which = f"Of the models served here, {_and(now)}" if now else "None of the models served here that can run now"
    fetched = f"; once fetched, {_and(later)} would" if later else ""
    return f"{which} would take it{fetched}"


def _listed(kinds: Set[Input]) -> str:
    return _and([kind.phrase for kind in Input if kind in kinds]) or "nothing"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
