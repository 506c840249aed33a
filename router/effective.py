"""From what was asked to what is used: defaults, rounding and limits, and a warning for each adjustment."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TypeVar

from registry import ModelSpec
from router.errors import InvalidRequest, LimitExceeded
from router.requests import Options, Request
from router.values import Task

SEEDS = 2**63  # a caller's seed is below this
DRAWN = 2**53  # and one of ours below this: JavaScript and jq round what is larger
T = TypeVar("T")


@dataclass(frozen=True)
class Effective:
    """A task with nothing left open, what was adjusted, and whether the caller chose the size."""

    task: Task
    warnings: tuple[str, ...]
    sized: bool


def settle(model: ModelSpec, request: Request) -> Effective:
    """Fill in the model's defaults, round sizes and frames as the model needs, and hold the limits.

    Raises `InvalidRequest` for a size that cannot be rounded, `LimitExceeded` beyond a limit.
    """
    options, defaults = request.options, model.defaults
    width, height = _size(model, request)
    task = Task(
        prompt=request.prompt,
        negative_prompt=_or(options.negative_prompt, defaults.negative_prompt),
        width=width,
        height=height,
        num_frames=_num_frames(model, request),
        frames_per_second=_rate(model, options),
        steps=_or(options.steps, defaults.steps),
        guidance_scale=_or(options.guidance_scale, defaults.guidance_scale),
        guidance_scale_2=_second_guidance(model, options),
        flow_shift=_or(options.flow_shift, defaults.flow_shift.at(width, height)),
        seed=_or(request.seed, secrets.randbelow(DRAWN)),
        given=request.given,
    )
    _hold_limits(model, request, task)
    return Effective(task, _adjusted(model, options, task), sized=options.width is not None)


def resized(model: ModelSpec, request: Request, task: Task, width: int, height: int) -> Task:
    """Return the task at another size, its shift following where the caller gave none."""
    shift = _or(request.options.flow_shift, model.defaults.flow_shift.at(width, height))
    return replace(task, width=width, height=height, flow_shift=shift)


def whole_frames(asked: int) -> int:
    """Return the 4k+1 that diffusers makes of a number of frames; only 1 is a single image."""
    return max(asked // 4 * 4 + 1, 5) if asked > 1 else 1


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _rate(model: ModelSpec, options: Options) -> int:
    return _or(options.frames_per_second, model.defaults.frames_per_second)


def _num_frames(model: ModelSpec, request: Request) -> int:
    """Return how many frames were asked for, by number or by seconds, made 4k+1; seconds never make an image."""
    options = request.options
    if options.seconds is None:
        return whole_frames(_or(options.num_frames, model.defaults.num_frames))
    rate = _rate(model, options)
    made = whole_frames(max(round(options.seconds * rate), 2))
    if options.num_frames is not None and whole_frames(options.num_frames) != made:
        raise InvalidRequest(
            f"seconds {options.seconds:g} at {rate} frames a second is {made} frames, "
            f"but num_frames is {options.num_frames}: give one of them",
            param=request.param("num_frames"),
        )
    return made


def _size(model: ModelSpec, request: Request) -> tuple[int, int]:
    width, height, multiple = request.options.width, request.options.height, model.size_multiple
    if width is None and height is None:
        return model.defaults.width, model.defaults.height
    if width is None or height is None:
        lacking, given = ("width", "height") if width is None else ("height", "width")
        raise InvalidRequest(f"{given} was given without {lacking}: give both or neither", param=request.param(lacking))
    for name, value in (("width", width), ("height", height)):
        if value < multiple:
            message = f"{name} must be at least {multiple} pixels for {model.name}, got {value}"
            raise InvalidRequest(message, param=request.param(name))
    return width // multiple * multiple, height // multiple * multiple


def _second_guidance(model: ModelSpec, options: Options) -> float | None:
    """Of two experts, the second follows the first where the model has no second guidance of its own."""
    if model.experts == 1:
        return None
    first = _or(options.guidance_scale, model.defaults.guidance_scale)
    return _or(options.guidance_scale_2, _or(model.defaults.guidance_scale_2, first))


def _hold_limits(model: ModelSpec, request: Request, task: Task) -> None:
    limits = model.limits
    size = f"{task.width}x{task.height} is "
    checks = (
        ("width", "pixels a frame", task.width * task.height, limits.pixels, size),
        ("num_frames", "frames", task.num_frames, limits.frames, _asked(request.options, task)),
        ("steps", "steps", task.steps, limits.steps, ""),
        ("prompt", "characters of prompt", len(task.prompt), limits.prompt, ""),
        ("negative_prompt", "characters of negative prompt", len(task.negative_prompt), limits.prompt, ""),
    )
    for name, what, got, most, shown in checks:
        if got > most:
            message = f"{model.name} takes at most {most:,} {what}, got {shown}{got:,}"
            raise LimitExceeded(message, param=request.param(name))


def _asked(options: Options, task: Task) -> str:
    """Say what was asked for where it was rounded, or said in seconds."""
    if options.seconds is not None:
        return f"{options.seconds:g} seconds at {task.frames_per_second} a second, which is "
    return "" if options.num_frames in (None, task.num_frames) else f"{options.num_frames:,}, made "


def _adjusted(model: ModelSpec, options: Options, task: Task) -> tuple[str, ...]:
    warnings = []
    if options.width and options.height and (options.width, options.height) != (task.width, task.height):
        warnings.append(
            f"size {options.width}x{options.height} was made {task.width}x{task.height}: "
            f"{model.name} takes multiples of {model.size_multiple}"
        )
    if options.num_frames and options.num_frames != task.num_frames:
        warnings.append(f"num_frames {options.num_frames} was made {task.num_frames}: the model takes 4k+1 frames")
    if options.seconds and abs(options.seconds * task.frames_per_second - task.num_frames) > 1:
        asked = f"seconds {options.seconds:g} at {task.frames_per_second} a second"
        warnings.append(f"{asked} was made {task.num_frames} frames: the model takes 4k+1")
    if options.guidance_scale_2 is not None and model.experts == 1:
        warnings.append(f"guidance_scale_2 has no effect: {model.name} has one expert")
    return tuple(warnings)
