"""From a task to latents: a pipeline of its own for each request, around parts that are shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from diffusers import WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from PIL import Image

from plugins.diffusers_backend.dit import loop
from plugins.diffusers_backend.dit.loop import OnStep
from plugins.wan.checkpoint import IMAGE_TO_VIDEO
from plugins.wan.generate.cancel_watch import check_before_each, is_compiled
from plugins.wan.generate.finite import Outputs
from plugins.wan.generate.prompts import Prompt
from plugins.wan.load import Loaded
from plugins.wan.vae.fast_vae import FastVae
from router import Pixels, Report, Task

ONLY_WITH_IMAGE = ("image_encoder", "image_processor")


class ImageToVideo(WanImageToVideoPipeline):  # type: ignore[misc]
    """Diffusers' pipeline of images, whose `outputs` see what CLIP and the VAE make of them."""

    outputs: Outputs

    def encode_image(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        embeds = super().encode_image(*args, **kwargs)
        self.outputs.see(lambda: "image encoder", embeds)
        return embeds

    def prepare_latents(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, ...]:
        latents, condition, *mask = super().prepare_latents(*args, **kwargs)
        self.outputs.see(lambda: "VAE encoder", condition)
        return (latents, condition, *mask)


def pipeline(loaded: Loaded, task: Task, outputs: Outputs | None = None) -> Any:
    """Return a pipeline for `task`: cheap, and with a scheduler that nobody else steps.

    What its encoders make of images is shown to `outputs`.
    """
    scheduler = loaded.schedulers.new(task.flow_shift)
    checkpoint = loaded.checkpoint
    if checkpoint.pipeline == IMAGE_TO_VIDEO or task.image is not None:
        pipe: Any = ImageToVideo(
            **loaded.parts,
            scheduler=scheduler,
            boundary_ratio=checkpoint.boundary_ratio,
            expand_timesteps=checkpoint.expand_timesteps,
        )
        pipe.outputs = outputs or Outputs()
    else:
        # With text alone every token has the same timestep. Saying so once instead of once a
        # token is the same arithmetic and saves 2 GB on the 5B model at 704p.
        parts = {name: part for name, part in loaded.parts.items() if name not in ONLY_WITH_IMAGE}
        pipe = WanPipeline(
            **parts, scheduler=scheduler, boundary_ratio=checkpoint.boundary_ratio, expand_timesteps=False
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def denoise(
    loaded: Loaded, pipe: Any, task: Task, prompt: Prompt, negative: Prompt | None, report: Report, outputs: Outputs
) -> torch.Tensor:
    """Return the latents of `task` after its last step, scaled as the transformer has them."""
    stepped = _reporting(loaded, pipe, task, report, outputs)
    if not loaded.paths.are_ours():
        return _by_pipeline(loaded, pipe, task, prompt, negative, stepped)
    images = [_picture(task.image), _picture(task.last_image)]
    embeds = [each.embeds for each in (prompt, negative) if each is not None]
    with _encoding(loaded, task):
        return loop.denoise(pipe, loaded.networks, task, images, embeds, stepped, _weights(loaded, task))


def _weights(loaded: Loaded, task: Task) -> torch.Tensor | None:
    """Return those of the sums that the steps are; a GPU's time is not lost on small operations."""
    if loaded.place.device != "cpu" or not loaded.place.fast.summed_steps:
        return None
    return loaded.schedulers.weights(task.flow_shift, task.steps)


def _by_pipeline(
    loaded: Loaded, pipe: Any, task: Task, prompt: Prompt, negative: Prompt | None, stepped: OnStep
) -> torch.Tensor:
    """Return the same by diffusers' own loop."""
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
        "callback_on_step_end": _as_callback(stepped),
    }
    if loaded.checkpoint.boundary_ratio is not None:
        arguments["guidance_scale_2"] = task.guidance_scale_2
    if isinstance(pipe, WanImageToVideoPipeline):
        arguments |= {"image": _picture(task.image), "last_image": _picture(task.last_image)}
    try:
        with _encoding(loaded, task), check_before_each(*map(_blocks, loaded.parts.values())):
            return pipe(**arguments).frames
    finally:
        pipe.maybe_free_model_hooks()  # also clears what a step cache remembers of a run that was stopped


def _blocks(part: Any) -> Iterable[Any]:
    """Return the blocks of a transformer of diffusers' own, unless they are parts of a graph."""
    return part.blocks if isinstance(part, WanTransformer3DModel) and not is_compiled(part) else ()


def _encoding(loaded: Loaded, task: Task) -> AbstractContextManager[Any]:
    """Return what guards the state of diffusers' VAE while it encodes; ours has none."""
    keeps_state = task.image is not None and not isinstance(loaded.parts["vae"], FastVae)
    return loaded.encoding if keeps_state else nullcontext()


def _reporting(loaded: Loaded, pipe: Any, task: Task, report: Report, outputs: Outputs) -> OnStep:
    colours = loaded.latent_map

    def stepped(number: int, latents: torch.Tensor) -> None:
        outputs.see(lambda: _expert(pipe, number), latents)
        report(number, task.steps, None if colours is None else lambda: colours.picture(latents))

    return stepped


def _expert(pipe: Any, number: int) -> str:
    """Return the transformer of step `number`, from 1; its timestep is on the device, so this waits for it."""
    ratio, timestep = pipe.config.boundary_ratio, float(pipe.scheduler.timesteps[number - 1])
    second = ratio is not None and timestep < ratio * pipe.scheduler.config.num_train_timesteps
    return "transformer_2" if second else "transformer"


def _as_callback(stepped: OnStep) -> Callable[..., dict[str, Any]]:
    """Return `stepped` as the pipelines call it."""

    def after_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        stepped(step + 1, tensors["latents"])
        return {}

    return after_step


def _picture(pixels: Pixels | None) -> Image.Image | None:
    return None if pixels is None else Image.fromarray(pixels)
