"""One task, start to end: encode the prompts, denoise, check the numbers, hand out the frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from plugins.diffusers_backend import prompts
from plugins.diffusers_backend.decode import pixels
from plugins.diffusers_backend.load import Loaded
from plugins.diffusers_backend.memory import out_of_memory
from plugins.diffusers_backend.prompts import Prompt
from plugins.diffusers_backend.sample import denoise, pipeline
from router import Frames, GenerationFailed, ModelSpec, NumericalError, Pixels, Report, Task


def prepare(loaded: Loaded, task: Task) -> None:
    """Encode the prompts of a task that comes next, so that it finds them."""
    with _memory_for(task):
        _prompts(loaded, pipeline(loaded, task), task)


def run(model: ModelSpec, loaded: Loaded, task: Task, report: Report) -> Frames:
    """Return the frames of `task`; when it returns, the steps are done and the decoding has not begun."""
    with _memory_for(task):
        pipe = pipeline(loaded, task)
        _require_size(model, pipe, task)
        prompt, negative = _prompts(loaded, pipe, task)
        latents = denoise(loaded, pipe, task, prompt, negative, report)
    _require_finite(model, task, latents)
    warnings = prompt.warnings("prompt") + (negative.warnings("negative prompt") if negative else ())
    frames = _decoded(loaded.decoder, latents, task)
    return Frames(frames, task.num_frames, task.width, task.height, task.frames_per_second, warnings)


def _prompts(loaded: Loaded, pipe: Any, task: Task) -> tuple[Prompt, Prompt | None]:
    """Return the prompt and the negative one, for which the pipelines have no use without guidance."""
    negative = _prompt(loaded, pipe, task.negative_prompt) if task.guidance_scale > 1 else None
    return _prompt(loaded, pipe, task.prompt), negative


def _prompt(loaded: Loaded, pipe: Any, text: str) -> Prompt:
    place = loaded.place
    return loaded.prompts.get(text, lambda: prompts.encode(pipe, text, place.device, place.fast.short_text))


def _decoded(vae: Any, latents: torch.Tensor, task: Task) -> Iterator[Pixels]:
    with _memory_for(task):
        yield from pixels(vae, latents)


def _memory_for(task: Task) -> AbstractContextManager[None]:
    return out_of_memory(
        f"making {task.num_frames} frames of {task.width}x{task.height}", "ask for fewer frames or a smaller size"
    )


def _require_size(model: ModelSpec, pipe: Any, task: Task) -> None:
    """Raise where the pipeline would quietly make smaller frames than were asked for."""
    multiple = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size[1]
    if task.width % multiple or task.height % multiple:
        raise GenerationFailed(
            f"{model.name} needs a width and a height that are multiples of {multiple}, got {task.width}x{task.height}"
        )


def _require_finite(model: ModelSpec, task: Task, latents: torch.Tensor) -> None:
    if not torch.isfinite(latents).all():
        raise NumericalError(
            f"{model.name} produced numbers that are not finite in {task.steps} steps; "
            "its weights may be damaged, or too large for its dtype (fp16 overflows where bf16 does not)"
        )
