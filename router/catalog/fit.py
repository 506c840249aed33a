"""The models, and the sizes of their videos, for which a device has memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from registry import ModelSpec, Size
from router.settings import Settings
from router.values import Alternative, Plan, gigabytes

# widths and heights of the sizes that are tried, cut to a model's multiples
SIZES = ((1280, 720), (1024, 576), (832, 480), (640, 368), (480, 272), (128, 128), (64, 64))
FRAMES_STEP = 4  # a video has 4k+1 frames
HOST_SHARE = 0.9  # of the host's memory, for the weights that stay there


@dataclass(frozen=True)
class Budget:
    """Bytes for models: of the device, of its weights, of the host.

    Those of the host are None if unknown.
    """

    device: int
    weights: int
    host: int | None = None

    @classmethod
    def of(cls, settings: Settings, total: int, host: int | None = None) -> Budget:
        """Return the budget of a device and a host of these bytes."""
        device = settings.memory_budget.of(total)
        share = None if host is None else int(HOST_SHARE * host)
        return cls(device, device - settings.activation_reserve.of(device), share)


def holds(plan: Plan, budget: Budget) -> bool:
    """Return whether the weights of a plan fit."""
    return plan.device_bytes <= budget.weights and (budget.host is None or plan.host_bytes <= budget.host)


def runs(plan: Plan, budget: Budget, size: Size) -> bool:
    """Return whether the weights fit with an estimated job of this size."""
    return holds(plan, budget) and plan.device_bytes + job_bytes(plan, size) <= budget.device


def job_bytes(plan: Plan, size: Size) -> int:
    """Return the estimated bytes of a job beside the weights, 0 if unknown."""
    return 0 if plan.activations is None else plan.activations(size.width, size.height, size.num_frames)


def default_size(model: ModelSpec) -> Size:
    return Size(model.defaults.width, model.defaults.height, model.defaults.num_frames)


def advice(plan: Plan, budget: Budget) -> str:
    """Return a change with which a model's weights fit, empty if unknown."""
    found = next((each for each in plan.alternatives if holds(each.plan, budget)), None)
    return "" if found is None else f"with {found} it needs {gigabytes(found.plan.device_bytes)}, which fit"


def largest(model: ModelSpec, plan: Plan, budget: Budget) -> Size | None:
    """Return the largest video within the model's limits that fits by the estimate.

    Of the largest pictures with the default number of frames the longest; if none fits, of the smallest.
    """
    longest = [_longest(plan, budget, *sides, model.limits.frames) for sides in _sides(model)]
    found = [size for size in longest if size is not None]
    wanted = min(model.defaults.num_frames, model.limits.frames)
    return next((size for size in found if size.num_frames >= wanted), found[-1] if found else None)


def _tried(model: ModelSpec) -> Iterator[Size]:
    """Yield the default size, then smaller ones, at last a single frame."""
    default = default_size(model)
    yield default
    sides = list(_sides(model))
    for width, height in sides:
        if width * height < default.width * default.height:
            yield replace(default, width=width, height=height)
    yield Size(*sides[-1], 1)


def _sides(model: ModelSpec) -> Iterator[tuple[int, int]]:
    """Yield widths and heights within the model's limits, the largest first."""
    multiple, default = model.size_multiple, (model.defaults.width, model.defaults.height)
    cut = {(width // multiple * multiple, height // multiple * multiple) for width, height in SIZES}
    allowed = {sides for sides in cut if 0 < sides[0] * sides[1] <= model.limits.pixels} | {default}
    yield from sorted(allowed, key=lambda sides: (sides[0] * sides[1], sides), reverse=True)


def _longest(plan: Plan, budget: Budget, width: int, height: int, frames: int) -> Size | None:
    fewest, most = 0, (frames - 1) // FRAMES_STEP  # an estimate grows with the frames
    if not runs(plan, budget, Size(width, height, 1)):
        return None
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if runs(plan, budget, Size(width, height, 1 + FRAMES_STEP * middle)):
            fewest = middle
        else:
            most = middle - 1
    return Size(width, height, 1 + FRAMES_STEP * fewest)


@dataclass(frozen=True)
class Verdict:
    """Whether a model fits as configured, and its fitting alternatives, best numbers first.

    What fits runs the model's default video; if nothing does, a smaller one. `size` is the largest video of the first
    that fits. All bytes beside the weights are estimates.
    """

    model: ModelSpec
    plan: Plan
    fits: bool
    alternatives: tuple[Alternative, ...]
    size: Size | None

    @property
    def chosen(self) -> Plan | None:
        """The first plan that fits."""
        return self.plan if self.fits else next((each.plan for each in self.alternatives), None)

    @property
    def is_smaller(self) -> bool:
        """Whether only videos smaller than the default one fit."""
        default = default_size(self.model)
        return self.size is not None and (
            self.size.width * self.size.height < default.width * default.height
            or self.size.num_frames < default.num_frames
        )


def verdict(model: ModelSpec, plan: Plan, budget: Budget) -> Verdict:
    """Return how a model's default video fits, or else a smaller one."""
    for size in _tried(model):
        fits = runs(plan, budget, size)
        others = tuple(each for each in plan.alternatives if runs(each.plan, budget, size))
        if fits or others:
            first = plan if fits else others[0].plan
            return Verdict(model, plan, fits, others, largest(model, first, budget))
    return Verdict(model, plan, fits=False, alternatives=(), size=None)
