"""The adapters of a request, and the defaults that they bring."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from registry import Adapter, ModelSpec, PerExpert
from router.errors import InvalidRequest
from router.request import AdapterChoice, Request
from router.values import UsedAdapter

MOST_LISTED = 20  # names in a message
Used = tuple[UsedAdapter, ...]
STATED_BY = {"num_frames": ("num_frames", "seconds")}  # options that state a default, where not its own name alone


def choose(model: ModelSpec, request: Request) -> tuple[ModelSpec, Used]:
    """Return the model with the defaults of its adapters in use, and these.

    Merged adapters come first, then the caller's in their order, or else the model's default ones. Raises
    `InvalidRequest` for adapters that the model does not have, for another strength of a merged one, and for adapters
    that disagree on a default.
    """
    merged = {each.name: _used(model, each) for each in model.adapters if each.merge}
    if request.adapters == () and merged:
        message = f"{model.name} always uses {', '.join(merged)}: adapters must be left out, or have a name, got []"
        raise _refusal(request, message)
    used = dict(merged)
    for choice in _choices(model, request):
        adapter = _find(model, request, choice.name)
        if choice.strength is not None:
            adapter = replace(adapter, strength=_strength(model, request, choice.name, choice.strength))
        used[adapter.name] = _used(model, adapter)
        if adapter.merge and used[adapter.name] != merged[adapter.name]:
            own, got = _shown(merged[adapter.name]), _shown(used[adapter.name])
            message = f"{model.name} has {adapter.name} in its weights: its strength must be {own}, got {got}"
            raise _refusal(request, message)
    kept = tuple(each for each in used.values() if _counts(_find(model, request, each.name), each))
    adapters = [_find(model, request, each.name) for each in kept]
    return _with_defaults(model, request, adapters), kept


def _counts(adapter: Adapter, used: UsedAdapter) -> bool:
    """Say whether an adapter has a file and a strength for any expert."""
    return any(
        file is not None and strength for file, strength in zip(adapter.files, (used.high, used.low), strict=True)
    )


def _choices(model: ModelSpec, request: Request) -> Sequence[AdapterChoice]:
    if request.adapters is None:
        return [AdapterChoice(name) for name in model.default_adapters]
    names = [choice.name for choice in request.adapters]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _refusal(request, f"each adapter may be named once, got {twice!r} twice")
    return request.adapters


def _find(model: ModelSpec, request: Request, name: str) -> Adapter:
    known = {each.name: each for each in model.adapters}
    if name in known:
        return known[name]
    names = ", ".join(list(known)[:MOST_LISTED]) + (", ..." if len(known) > MOST_LISTED else "")
    raise _refusal(request, f"{model.name} has no adapter {name!r}: it has {names or 'none'}")


def _strength(model: ModelSpec, request: Request, name: str, sent: PerExpert[float]) -> PerExpert[float]:
    if model.experts == 1 and sent.high != sent.low:
        got = f"high {sent.high:g} and low {sent.low:g}"
        raise _refusal(request, f"{model.name} has one expert: the strength of {name} must be one number, got {got}")
    return sent


def _used(model: ModelSpec, adapter: Adapter) -> UsedAdapter:
    high, low = adapter.strength
    return UsedAdapter(adapter.name, high, low if model.experts > 1 else high)


def _with_defaults(model: ModelSpec, request: Request, adapters: Sequence[Adapter]) -> ModelSpec:
    found: dict[str, Any] = {}
    source: dict[str, str] = {}
    for adapter in adapters:
        for name, value in adapter.defaults.items():
            if name == "guidance_scale_2" and model.experts == 1:
                continue
            first = source.setdefault(name, adapter.name)
            if found.setdefault(name, value) != value and not _states(request, name):
                both = f"{first} and {adapter.name}"
                raise _refusal(request, f"{both} bring different defaults for {name}: send {request.param(name)} too")
    if "guidance_scale" in found:
        found.setdefault("guidance_scale_2", None)  # the second expert follows the first
    return replace(model, defaults=replace(model.defaults, **found)) if found else model


def _states(request: Request, name: str) -> bool:
    return any(getattr(request.options, option) is not None for option in STATED_BY.get(name, (name,)))


def _shown(used: UsedAdapter) -> str:
    return f"{used.high:g}" if used.high == used.low else f"high {used.high:g} and low {used.low:g}"


def _refusal(request: Request, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=request.param("adapters"))
