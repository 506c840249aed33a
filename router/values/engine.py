"""The state of engines, and their models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from router.values.backend import PartPath


@dataclass(frozen=True)
class ResidentBytes:
    """Bytes of a model's weights on a device: its own, and shared ones."""

    owned: int
    shared: int


REMEDY = "raise FRAMEGATE_MEMORY_BUDGET, or choose a smaller model or dtype"


@dataclass(frozen=True)
class Need:
    """Bytes of weights: needed by a model, and budgeted on a device.

    `advice` is a change of the model's entry with which it fits, if one is known.
    """

    needed: int
    budget: int
    advice: str = ""

    @property
    def remedy(self) -> str:
        """What helps, as a sentence."""
        return f"{self.advice}; or {REMEDY}" if self.advice else REMEDY

    def __str__(self) -> str:
        budget = gigabytes(self.budget)
        return f"needs {gigabytes(self.needed)} of weights on the device, its budget for weights is {budget}"


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in use, None if unknown.

    `resident` is the memory of the engine's process on the host, `device` that of all processes on its device.
    """

    resident: int | None = None
    device: int | None = None


def gigabytes(size: int) -> str:
    """Format bytes on a device to three digits, such as 11.4 GB."""
    return f"{size / 1e9:.3g} GB"


@dataclass(frozen=True)
class EngineState:
    """The state of an engine at its last heartbeat, `age` seconds ago.

    `kind` is the kind of its device, such as `NVIDIA H200` or `cpu`: engines of one kind take equally long. `loads` are
    the expected seconds of a load of each model; for a loaded one, of another load after it has left. An engine that
    is `draining` ends its job and claims no more.
    """

    id: str
    device: str
    pid: int
    models: tuple[str, ...]
    resident: tuple[str, ...]
    job: str | None = None
    age: float = 0.0
    memory: Mapping[str, ResidentBytes] = field(default_factory=dict)
    warm: tuple[str, ...] = ()
    paths: Mapping[str, Mapping[str, PartPath]] = field(default_factory=dict)  # by model and part
    lacks: Mapping[str, str] = field(default_factory=dict)  # what it needs to run a model that it cannot run
    too_large: Mapping[str, Need] = field(default_factory=dict)  # models that can never be loaded there
    use: MemoryUse = MemoryUse()
    kind: str = ""
    loads: Mapping[str, float] = field(default_factory=dict)
    draining: bool = False
    lock_domain: str = ""  # of its device's lock, where many machines share the store


def lacking(model: str, engines: Iterable[EngineState], recent: float) -> tuple[str, ...]:
    """Return the reasons why no engine seen within `recent` seconds can run a model.

    Nothing is returned if one can.
    """
    # of each device the engine that was seen last counts: the others are gone
    newest = {engine.device: engine for engine in sorted(engines, key=lambda engine: -engine.age)}
    known = [engine for engine in newest.values() if engine.age < recent]
    if any(model in engine.models for engine in known):
        return ()
    return tuple(sorted({engine.lacks[model] for engine in known if model in engine.lacks}))


def too_large(model: str, engines: Iterable[EngineState]) -> str | None:
    """Return why no engine that offers `model` can ever load it, else None."""
    able = [engine for engine in engines if model in engine.models]
    needs = {engine.device: engine.too_large.get(model) for engine in able}
    if not needs or None in needs.values():
        return None
    reasons = "; ".join(f"on {device} it {need}" for device, need in sorted(needs.items()))
    return f"{model} can never be loaded: {reasons}"


def state_of(model: str, engines: Iterable[EngineState]) -> str:
    """Return where a model's weights are: `loaded` (device), `warm` (host) or `cold`."""
    known = list(engines)
    if any(model in engine.resident for engine in known):
        return "loaded"
    return "warm" if any(model in engine.warm for engine in known) else "cold"
