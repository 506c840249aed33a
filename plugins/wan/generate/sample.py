"""From a task to latents: a pipeline for each request around shared parts."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from diffusers import WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from PIL import Image

from plugins.wan.generate.cancel_watch import check_before_each, is_compiled
from plugins.wan.generate.finite import Outputs
from plugins.wan.generate.prompts import Prompt
from plugins.wan.load import Loaded, OnStep
from plugins.wan.vae.fast_vae import FastVae
from registry.folders.model import IMAGE_TO_VIDEO
from router import Pixels, Report, Task

ONLY_WITH_IMAGE = ("image_encoder", "image_processor")


class ImageToVideo(WanImageToVideoPipeline):
    """Diffusers' image pipeline; `outputs` gets the results of CLIP and of the VAE's encoder."""

    outputs: Outputs

    def encode_image(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        embeds: torch.Tensor = super().encode_image(*args, **kwargs)
        self.outputs.add(lambda: "image encoder", embeds)
        return embeds

    def prepare_latents(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, ...]:
        latents, condition, *mask = super().prepare_latents(*args, **kwargs)
        self.outputs.add(lambda: "VAE encoder", condition)
        return (latents, condition, *mask)


def pipeline(loaded: Loaded, task: Task, outputs: Outputs | None = None) -> Any:
    """Return a pipeline for `task`; `outputs` gets the results of its encoders."""
    scheduler = loaded.schedulers.new(task.flow_shift)
    folder = loaded.checkpoint.folder
    if folder.pipeline == IMAGE_TO_VIDEO or task.image is not None:
        pipe: Any = ImageToVideo(
            **loaded.parts,
            scheduler=scheduler,
            boundary_ratio=folder.boundary_ratio,
            expand_timesteps=folder.expand_timesteps,
        )
        pipe.outputs = outputs or Outputs()
    else:
        # With text alone every token has the same timestep. Saying so once instead of once a
        # token is the same arithmetic and saves 2 GB on the 5B model at 704p.
        parts = {name: part for name, part in loaded.parts.items() if name not in ONLY_WITH_IMAGE}
        pipe = WanPipeline(**parts, scheduler=scheduler, boundary_ratio=folder.boundary_ratio, expand_timesteps=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def denoise(
    loaded: Loaded, pipe: Any, task: Task, prompt: Prompt, negative: Prompt | None, report: Report, outputs: Outputs
) -> torch.Tensor:
    """Return the latents of `task` after its last step, in the transformer's scale."""
    on_step = _on_step(loaded, pipe, task, report, outputs)
    if loaded.paths is None or not loaded.paths.are_ours():
        for name, part in loaded.parts.items():
            if loaded.paths is not None and getattr(pipe, name, part) is not part:  # it has adapters
                loaded.paths.require_adaptable(name, part)
        return _by_pipeline(loaded, pipe, task, prompt, negative, on_step)
    images = [_image(task.image), _image(task.last_image)]
    embeds = [each.embeds for each in (prompt, negative) if each is not None]
    with _encoder_lock(loaded, task):
        return loaded.paths.denoise(pipe, task, images, embeds, on_step, _linear_weights(loaded, task))


def _linear_weights(loaded: Loaded, task: Task) -> torch.Tensor | None:
    # None on a GPU: small operations take no time there
    if loaded.placement.device != "cpu" or not loaded.placement.fast.summed_steps:
        return None
    return loaded.schedulers.weights(task.flow_shift, task.steps)


def _by_pipeline(
    loaded: Loaded, pipe: Any, task: Task, prompt: Prompt, negative: Prompt | None, on_step: OnStep
) -> torch.Tensor:
    arguments: dict[str, Any] = {
        "prompt_embeds": prompt.embeds,
        "negative_prompt_embeds": None if negative is None else negative.embeds,
        "height": task.height,
        "width": task.width,
        "num_frames": task.num_frames,
        "num_inference_steps": task.steps,
        "guidance_scale": task.guidance_scale,
        # noise from the CPU is the same for every device
        "generator": torch.Generator("cpu").manual_seed(task.seed),
        "output_type": "latent",
        "callback_on_step_end": _as_callback(on_step),
    }
    if loaded.checkpoint.folder.boundary_ratio is not None:
        arguments["guidance_scale_2"] = task.guidance_scale_2
    if isinstance(pipe, WanImageToVideoPipeline):
        arguments |= {"image": _image(task.image), "last_image": _image(task.last_image)}
    try:
        with _encoder_lock(loaded, task), check_before_each(*map(_blocks, loaded.parts.values())):
            return pipe(**arguments).frames
    finally:
        pipe.maybe_free_model_hooks()  # also clears a step cache's memory of a run that was stopped


def _blocks(part: Any) -> Iterable[Any]:
    """Return the blocks of diffusers' own transformer, none of a compiled one."""
    return part.blocks if isinstance(part, WanTransformer3DModel) and not is_compiled(part) else ()


def _encoder_lock(loaded: Loaded, task: Task) -> AbstractContextManager[Any]:
    """Return the lock on diffusers' VAE while it encodes, if it has state."""
    keeps_state = task.image is not None and not isinstance(loaded.parts["vae"], FastVae)
    return loaded.encoding if keeps_state else nullcontext()


def _on_step(loaded: Loaded, pipe: Any, task: Task, report: Report, outputs: Outputs) -> OnStep:
    colours = loaded.latent_map

    def on_step(number: int, latents: torch.Tensor) -> None:
        outputs.add(lambda: _expert(pipe, number), latents)
        report(number, task.steps, None if colours is None else lambda: colours.picture(latents))

    return on_step


def _expert(pipe: Any, number: int) -> str:
    """Return the transformer of step `number`, from 1; waits for the device."""
    ratio, timestep = pipe.config.boundary_ratio, float(pipe.scheduler.timesteps[number - 1])
    second = ratio is not None and timestep < ratio * pipe.scheduler.config.num_train_timesteps
    return "transformer_2" if second else "transformer"


def _as_callback(on_step: OnStep) -> Callable[..., dict[str, Any]]:

    def after_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, tensors["latents"])
        return {}

    return after_step


def _image(pixels: Pixels | None) -> Image.Image | None:
    return None if pixels is None else Image.fromarray(pixels)
