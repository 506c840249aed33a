"""The denoising loop of Wan's pipelines over our forward passes: the same steps, with each thing done once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from plugins.diffusers_backend.dit.network import Network, Pass
from plugins.diffusers_backend.dit.timestep_embedding import TimestepEmbedding, embed_timesteps
from plugins.wan.generate.linear_scheduler import step_function
from router import Task

OnStep = Callable[[int, torch.Tensor], None]  # hears of each step's number, from 1, and its latents


@dataclass(frozen=True)
class Canvas:
    """Where the latents begin and how an image reaches the transformer: beside them, or as their first frame."""

    latents: torch.Tensor
    beside: torch.Tensor | None = None
    first: torch.Tensor | None = None

    def input(self, latents: torch.Tensor) -> torch.Tensor:
        """Return what the transformer reads of `latents` `(1, c, t, h, w)`."""
        if self.beside is not None:
            return torch.cat([latents, self.beside], dim=1)
        return self.finished(latents)

    def finished(self, latents: torch.Tensor) -> torch.Tensor:
        if self.first is None:
            return latents
        return torch.cat([self.first, latents[:, :, 1:]], dim=2)


@torch.no_grad()
def denoise(
    pipe: Any,
    networks: Mapping[str, Network],
    task: Task,
    images: Sequence[Image.Image | None],
    embeds: Sequence[torch.Tensor],
    stepped: OnStep,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the latents of `task`, as `pipe` would with `output_type="latent"`.

    `images` are the first and the last frame, `embeds` the prompt and, with guidance, the negative prompt; `weights`
    those of the sums that the scheduler's steps are, where they are to be taken so.
    """
    dtype, device = networks["transformer"].dtype, networks["transformer"].device
    pipe.scheduler.set_timesteps(task.steps, device=device)
    canvas, seen = _canvas(pipe, task, images, device), _seen_by_clip(pipe, images, device)
    image = None if seen is None else seen.to(dtype)
    experts = _Experts(pipe, networks, canvas, [each.to(dtype) for each in embeds], image)
    latents = canvas.latents
    step = step_function(pipe.scheduler, weights, latents)
    for number, timestep in enumerate(pipe.scheduler.timesteps, 1):
        name = experts.at(number)
        velocity = experts.velocity(name, canvas.input(latents).to(dtype), number)
        if len(velocity) == 2:
            wanted, unwanted = velocity.split(1)
            velocity = unwanted + _guidance(task, name) * (wanted - unwanted)
        latents = step(velocity, timestep, latents)
        stepped(number, latents)
    experts.compile_later()
    return canvas.finished(latents)


class _Experts:
    """The transformers of one request: which one is at work, and what it needs, made when it first is."""

    def __init__(
        self,
        pipe: Any,
        networks: Mapping[str, Network],
        canvas: Canvas,
        embeds: Sequence[torch.Tensor],
        image: torch.Tensor | None,
    ) -> None:
        ratio, timesteps = pipe.config.boundary_ratio, pipe.scheduler.timesteps
        boundary = 0.0 if ratio is None else ratio * pipe.scheduler.config.num_train_timesteps
        self._early = (timesteps >= boundary).tolist()  # at once: each step's would wait for the one before
        self._times = torch.cat([timesteps.new_zeros(1), timesteps])  # what is given is at time 0
        self._networks = networks
        self._canvas = canvas
        self._embeds = embeds
        self._image = image
        self._ready: dict[str, tuple[list[Pass], TimestepEmbedding]] = {}
        self._again: list[Callable[[], None]] = []

    def at(self, number: int) -> str:
        return "transformer" if self._early[number - 1] else "transformer_2"

    def velocity(self, name: str, seen: torch.Tensor, number: int) -> torch.Tensor:
        """Return the velocity in step `number`, from 1, for each prompt, `(prompts, c, t, h, w)`."""
        network = self._networks[name]
        groups = _groups(number, seen, self._canvas, network.switches.framewise_time)
        if name not in self._ready:
            self._ready[name] = self._prepared(network, seen, groups)
        passes, moments = self._ready[name]
        moment = moments.of(groups)
        return torch.cat([each(seen, moment) for each in passes])

    def compile_later(self) -> None:
        for ask in self._again:
            ask()

    def _prepared(
        self, network: Network, seen: torch.Tensor, groups: torch.Tensor
    ) -> tuple[list[Pass], TimestepEmbedding]:
        batches = [torch.cat(list(self._embeds))] if network.batches(seen) else self._embeds
        image = None if self._image is None else network.read_image(self._image)
        passes = [network.prepare(seen, batch, len(groups), image) for batch in batches]
        moments = embed_timesteps(network.model, self._times)
        self._again += [partial(network.compile_later, each, seen, moments.of(groups)) for each in passes]
        return passes, moments


def _canvas(pipe: Any, task: Task, images: Sequence[Image.Image | None], device: torch.device) -> Canvas:
    """Return the canvas that the pipeline prepares from the task's seed and images."""
    frames, factor = task.num_frames, pipe.vae_scale_factor_temporal
    if frames % factor != 1:
        frames = frames // factor * factor + 1  # as the pipelines have it
    # noise from the CPU is the same for every device
    made = torch.Generator("cpu").manual_seed(task.seed)
    shape = (task.height, task.width, frames, torch.float32, device, made, None)
    if not isinstance(pipe, WanImageToVideoPipeline):
        return Canvas(pipe.prepare_latents(1, pipe.transformer.config.in_channels, *shape))
    first, last = (_tensor(pipe, task, image, device) for image in images)
    latents, condition, *mask = pipe.prepare_latents(first, 1, pipe.vae.config.z_dim, *shape, last)
    return Canvas(latents, first=condition) if mask else Canvas(latents, beside=condition)


def _seen_by_clip(pipe: Any, images: Sequence[Image.Image | None], device: torch.device) -> torch.Tensor | None:
    """Return CLIP's tokens of each image, `(images, 257, image_dim)`; None where the transformer reads none."""
    if not isinstance(pipe, WanImageToVideoPipeline) or pipe.transformer.config.image_dim is None:
        return None
    seen: torch.Tensor = pipe.encode_image([image for image in images if image is not None], device)
    return seen


def _tensor(pipe: Any, task: Task, image: Image.Image | None, device: torch.device) -> torch.Tensor | None:
    if image is None:
        return None
    ready: torch.Tensor = pipe.video_processor.preprocess(image, height=task.height, width=task.width)
    return ready.to(device, torch.float32)


def _groups(number: int, seen: torch.Tensor, canvas: Canvas, framewise: bool) -> torch.Tensor:
    """Return which time the tokens have, 0 or that of step `number`: one for all of them, or, where the first frame is
    given, one a frame; a token if not `framewise`.
    """
    if canvas.first is None:
        return torch.full((1,), number, device=seen.device)
    frames, height, width = seen.shape[2:]
    each = torch.full((frames,), number, device=seen.device)
    each[0] = 0
    return each if framewise else each.repeat_interleave(height * width // 4)


def _guidance(task: Task, name: str) -> float:
    second = name == "transformer_2" and task.guidance_scale_2 is not None
    return task.guidance_scale_2 if second else task.guidance_scale  # type: ignore[return-value]
