"""One task from start to end: encode prompts, denoise, check the numbers, decode frames."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from plugins.wan.generate.adapters import adapters
from plugins.wan.generate.cancel_watch import cancel_watch, check_before_each
from plugins.wan.generate.decode import pixels
from plugins.wan.generate.finite import LARGEST, Outputs, is_bad
from plugins.wan.generate.flat_colour import FlatColour
from plugins.wan.generate.prompts import Prompt, encode
from plugins.wan.generate.sample import denoise, pipeline
from plugins.wan.load import Loaded
from plugins.wan.memory import out_of_memory
from router import Frames, GenerationFailed, ModelSpec, NumericalError, Pixels, Report, Task

TEXT_ENCODER = "text encoder"


def run(model: ModelSpec, loaded: Loaded, task: Task, report: Report) -> Frames:
    """Return the frames of `task` after its last step; reading them decodes them."""
    outputs, flat = Outputs(), FlatColour()
    with _memory_for(task), cancel_watch(report, task.steps) as report, _checks_in_encoders(loaded):
        pipe = pipeline(loaded, task, outputs)
        _require_size(model, pipe, task)
        prompt, negative = _prompts(loaded, pipe, task)
        texts = [each for each in (prompt, negative) if each is not None]
        for each in texts:
            outputs.add(lambda: TEXT_ENCODER, each.embeds)
        with adapters(model, loaded, pipe, task) as notes:
            latents = denoise(loaded, pipe, task, prompt, negative, report, outputs)
        fault = outputs.fault()  # at the end of the steps, when a GPU has nothing queued in any case
    if fault is not None:
        if fault == TEXT_ENCODER:
            for each in texts:
                loaded.prompts.discard(each)
        raise _not_finite(model, fault, loaded.placement.dtype, task)
    warnings = prompt.warnings("prompt") + (negative.warnings("negative prompt") if negative else ())
    warnings += notes
    frames = _decoded(model, loaded, latents, task, flat)
    return Frames(
        frames, task.num_frames, task.width, task.height, task.frames_per_second, warnings, late_warnings=flat.warnings
    )


def _checks_in_encoders(loaded: Loaded) -> AbstractContextManager[None]:
    text, vae = loaded.parts["text_encoder"], loaded.parts["vae"]
    return check_before_each(text.encoder.block, [vae.encoder])


def _prompts(loaded: Loaded, pipe: Any, task: Task) -> tuple[Prompt, Prompt | None]:
    negative = _prompt(loaded, pipe, task.negative_prompt) if task.guidance_scale > 1 else None
    return _prompt(loaded, pipe, task.prompt), negative


def _prompt(loaded: Loaded, pipe: Any, text: str) -> Prompt:
    placement = loaded.placement
    return loaded.prompts.get(text, lambda: encode(pipe, text, placement.device, placement.fast.short_text))


def _decoded(model: ModelSpec, loaded: Loaded, latents: torch.Tensor, task: Task, flat: FlatColour) -> Iterator[Pixels]:
    vae, dtype = loaded.decoder, loaded.placement.decoder_dtype

    def require(magnitude: float) -> None:
        if is_bad(magnitude):
            raise _not_finite(model, "VAE decoder", dtype, task)

    with _memory_for(task):
        for frames in pixels(vae, latents, require):
            flat.add(frames)
            yield frames


def _memory_for(task: Task) -> AbstractContextManager[None]:
    return out_of_memory(
        f"making {task.num_frames} frames of {task.width}x{task.height}", "ask for fewer frames or a smaller size"
    )


def _require_size(model: ModelSpec, pipe: Any, task: Task) -> None:
    """Raise `GenerationFailed` where the pipeline would quietly make smaller frames."""
    multiple = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size[1]
    if task.width % multiple or task.height % multiple:
        raise GenerationFailed(
            f"{model.name} needs a width and a height that are multiples of {multiple}, got {task.width}x{task.height}"
        )


def _not_finite(model: ModelSpec, part: str, dtype: torch.dtype, task: Task) -> NumericalError:
    overflow = ", or too large for fp16: bf16 and fp32 hold larger numbers" if dtype is torch.float16 else ""
    strong = f", or its adapters too strong ({', '.join(used.name for used in task.adapters)})" if task.adapters else ""
    return NumericalError(
        f"the {part} of {model.name} produced numbers that are not finite, or beyond {LARGEST:g}: "
        f"its weights may be damaged{strong}{overflow}"
    )
