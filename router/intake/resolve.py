"""The effective values of a request, and a warning for each adjustment."""

import secrets
from dataclasses import dataclass
from typing import TypeVar

from registry import Input, ModelSpec
from router import media
from router.errors import InvalidRequest, LimitExceeded
from router.request import Options, Request
from router.values import Task, UsedAdapter

SEEDS = 2**63  # a caller's seed is below this
DRAWN = 2**53  # and one of ours below this: JavaScript and jq round what is larger
T = TypeVar("T")
Size = tuple[int, int]  # width and height in pixels


@dataclass(frozen=True)
class ResolvedTask:
    """A task of effective values, and a warning for each adjustment."""

    task: Task
    warnings: tuple[str, ...]


def check(model: ModelSpec, request: Request) -> None:
    """Check the limits that need no image; raise `InvalidRequest` or `LimitExceeded`."""
    limits, options = model.limits, request.options
    num_frames = frames_of(model, request)
    negative = _or(options.negative_prompt, model.defaults.negative_prompt)
    _hold(model, request, "num_frames", "frames", num_frames, limits.frames, _derivation(model, options, num_frames))
    _hold(model, request, "steps", "steps", _or(options.steps, model.defaults.steps), limits.steps)
    _hold(model, request, "prompt", "characters of prompt", len(request.prompt), limits.prompt)
    _hold(model, request, "negative_prompt", "characters of negative prompt", len(negative), limits.prompt)
    if (size := _requested_size(model, request)) is not None:
        _hold_pixels(model, request, size)


def follows_image(request: Request) -> bool:
    """Say whether the first image decides the size of the video."""
    options = request.options
    return options.width is None and options.height is None and Input.IMAGE in request.input_kinds


def resolve(
    model: ModelSpec, request: Request, image: Size | None, adapters: tuple[UsedAdapter, ...] = ()
) -> ResolvedTask:
    """Return the task with the model's defaults, size and frames rounded; `check` comes before.

    `image` is the size of the first image, needed only where the request `follows_image`.
    Raises `LimitExceeded` when the video's size is beyond the model's limit.
    """
    options, defaults = request.options, model.defaults
    width, height = _size(model, request, image)
    _hold_pixels(model, request, (width, height))
    task = Task(
        prompt=request.prompt,
        negative_prompt=_or(options.negative_prompt, defaults.negative_prompt),
        width=width,
        height=height,
        num_frames=frames_of(model, request),
        frames_per_second=_rate(model, options),
        steps=_or(options.steps, defaults.steps),
        guidance_scale=_or(options.guidance_scale, defaults.guidance_scale),
        guidance_scale_2=_second_guidance(model, options),
        flow_shift=_or(options.flow_shift, defaults.flow_shift.at(width, height)),
        seed=_or(request.seed, secrets.randbelow(DRAWN)),
        input_kinds=request.input_kinds,
        adapters=adapters,
    )
    return ResolvedTask(task, _adjusted(model, options, task))


def frames_of(model: ModelSpec, request: Request) -> int:
    """Return the requested number of frames, made 4k+1; `seconds` never make a single image."""
    options = request.options
    if options.seconds is None:
        return whole_frames(_or(options.num_frames, model.defaults.num_frames))
    rate = _rate(model, options)
    made = frames_in(options.seconds, rate)
    if options.num_frames is not None and whole_frames(options.num_frames) != made:
        raise InvalidRequest(
            f"seconds {options.seconds:g} at {rate} frames a second is {made} frames, "
            f"but num_frames is {options.num_frames}: give one of them",
            param=request.param("num_frames"),
        )
    return made


def frames_in(seconds: float, rate: int) -> int:
    """Return the 4k+1 frames of a length, at least 5."""
    return whole_frames(max(round(seconds * rate), 2))


def whole_frames(frames: int) -> int:
    """Return the 4k+1 frames that diffusers makes of a number."""
    return max(frames // 4 * 4 + 1, 5) if frames > 1 else 1  # only 1 is a single image


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _rate(model: ModelSpec, options: Options) -> int:
    return _or(options.frames_per_second, model.defaults.frames_per_second)


def _size(model: ModelSpec, request: Request, image: Size | None) -> Size:
    if (requested := _requested_size(model, request)) is not None:
        return requested
    width, height = model.defaults.width, model.defaults.height
    if image is None:
        return width, height
    return media.size_for(*image, width * height, model.size_multiple, model.limits.pixels)


def _requested_size(model: ModelSpec, request: Request) -> Size | None:
    width, height, multiple = request.options.width, request.options.height, model.size_multiple
    if width is None and height is None:
        return None
    if width is None or height is None:
        lacking, got = ("width", "height") if width is None else ("height", "width")
        raise InvalidRequest(f"{got} was given without {lacking}: give both or neither", param=request.param(lacking))
    for name, value in (("width", width), ("height", height)):
        if value < multiple:
            message = f"{name} must be at least {multiple} pixels for {model.name}, got {value}"
            raise InvalidRequest(message, param=request.param(name))
    if request.fit_size and width * height > model.limits.pixels:
        return media.size_for(width, height, model.limits.pixels, multiple, model.limits.pixels)
    return width // multiple * multiple, height // multiple * multiple


def _second_guidance(model: ModelSpec, options: Options) -> float | None:
    if model.experts == 1:
        return None
    # the second expert follows the first where the model has no second guidance of its own
    first = _or(options.guidance_scale, model.defaults.guidance_scale)
    return _or(options.guidance_scale_2, _or(model.defaults.guidance_scale_2, first))


def _hold_pixels(model: ModelSpec, request: Request, size: Size) -> None:
    width, height = size
    _hold(model, request, "width", "pixels a frame", width * height, model.limits.pixels, f"{width}x{height} is ")


def _hold(model: ModelSpec, request: Request, name: str, what: str, got: int, most: int, shown: str = "") -> None:
    if got > most:
        message = f"{model.name} takes at most {most:,} {what}, got {shown}{got:,}"
        raise LimitExceeded(message, param=request.param(name))


def _derivation(model: ModelSpec, options: Options, num_frames: int) -> str:
    if options.seconds is not None:
        return f"{options.seconds:g} seconds at {_rate(model, options)} a second, which is "
    return "" if options.num_frames in (None, num_frames) else f"{options.num_frames:,}, made "


def _adjusted(model: ModelSpec, options: Options, task: Task) -> tuple[str, ...]:
    warnings = []
    if options.width and options.height and (options.width, options.height) != (task.width, task.height):
        most = model.limits.pixels
        is_larger = options.width * options.height > most
        limit = f"at most {most:,} pixels a frame" if is_larger else f"multiples of {model.size_multiple}"
        sizes = f"{options.width}x{options.height} was made {task.width}x{task.height}"
        warnings.append(f"size {sizes}: {model.name} takes {limit}")
    if options.num_frames and options.num_frames != task.num_frames:
        warnings.append(f"num_frames {options.num_frames} was made {task.num_frames}: the model takes 4k+1 frames")
    if options.seconds and abs(options.seconds * task.frames_per_second - task.num_frames) > 1:
        seconds = f"seconds {options.seconds:g} at {task.frames_per_second} a second"
        warnings.append(f"{seconds} was made {task.num_frames} frames: the model takes 4k+1")
    if options.guidance_scale_2 is not None and model.experts == 1:
        warnings.append(f"guidance_scale_2 has no effect: {model.name} has one expert")
    return tuple(warnings)
