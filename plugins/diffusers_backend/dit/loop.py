"""The denoising loop of Wan's pipelines over our forward passes, without repeated work."""

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
from plugins.wan.load import OnStep
from router import Task


@dataclass(frozen=True)
class Canvas:
    """The first latents, and an image as further channels or as the first frame."""

    latents: torch.Tensor
    channels: torch.Tensor | None = None
    first: torch.Tensor | None = None

    def input(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the transformer's input for latents `(1, c, t, h, w)`."""
        if self.channels is not None:
            return torch.cat([latents, self.channels], dim=1)
        return self.finished(latents)

    def finished(self, latents: torch.Tensor) -> torch.Tensor:
        if self.first is None:
            return latents
        return torch.cat([self.first, latents[:, :, 1:]], dim=2)


@torch.no_grad()
def denoise(
    networks: Mapping[str, Network],
    pipe: Any,
    task: Task,
    images: Sequence[Image.Image | None],
    embeds: Sequence[torch.Tensor],
    on_step: OnStep,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the latents of `task` by `networks`; see `ForwardPaths.denoise`."""
    networks = {name: network.of(getattr(pipe, name)) for name, network in networks.items()}
    dtype, device = networks["transformer"].dtype, networks["transformer"].device
    pipe.scheduler.set_timesteps(task.steps, device=device)
    canvas, clip_embeds = _canvas(pipe, task, images, device), _clip_embeds(pipe, images, device)
    image = None if clip_embeds is None else clip_embeds.to(dtype)
    experts = _Experts(pipe, networks, canvas, [each.to(dtype) for each in embeds], image)
    latents = canvas.latents
    step = step_function(pipe.scheduler, weights, latents)
    for number, timestep in enumerate(pipe.scheduler.timesteps, 1):
        name = experts.at(number)
        velocity = experts.velocity(name, canvas.input(latents).to(dtype), number)
        if len(velocity) == 2:
            positive, negative = velocity.split(1)
            velocity = negative + _guidance(task, name) * (positive - negative)
        latents = step(velocity, timestep, latents)
        on_step(number, latents)
    experts.compile_later()
    return canvas.finished(latents)


@dataclass
class _Experts:
    """The transformers of one request, prepared at their first step."""

    pipe: Any
    networks: Mapping[str, Network]
    canvas: Canvas
    embeds: Sequence[torch.Tensor]
    image: torch.Tensor | None

    def __post_init__(self) -> None:
        ratio, timesteps = self.pipe.config.boundary_ratio, self.pipe.scheduler.timesteps
        boundary = 0.0 if ratio is None else ratio * self.pipe.scheduler.config.num_train_timesteps
        self._early = (timesteps >= boundary).tolist()  # at once: reading one in each step would wait for the step
        self._timesteps = torch.cat([timesteps.new_zeros(1), timesteps])  # an image frame is at time 0
        self._ready: dict[str, tuple[list[Pass], TimestepEmbedding]] = {}
        self._compilations: list[Callable[[], None]] = []

    def at(self, number: int) -> str:
        return "transformer" if self._early[number - 1] else "transformer_2"

    def velocity(self, name: str, latents: torch.Tensor, number: int) -> torch.Tensor:
        """Return the velocity in step `number`, from 1, for each prompt: `(prompts, c, t, h, w)`."""
        network = self.networks[name]
        groups = _groups(number, latents, self.canvas, network.switches.framewise_time)
        if name not in self._ready:
            self._ready[name] = self._prepared(network, latents, groups)
        passes, embeddings = self._ready[name]
        embedding = embeddings.of(groups)
        return torch.cat([each(latents, embedding) for each in passes])

    def compile_later(self) -> None:
        for compile_later in self._compilations:
            compile_later()

    def _prepared(
        self, network: Network, latents: torch.Tensor, groups: torch.Tensor
    ) -> tuple[list[Pass], TimestepEmbedding]:
        batches = [torch.cat(list(self.embeds))] if network.batches(latents) else self.embeds
        image = None if self.image is None else network.read_image(self.image)
        passes = [network.prepare(latents, batch, len(groups), image) for batch in batches]
        embeddings = embed_timesteps(network.model, self._timesteps)
        self._compilations += [partial(network.compile_later, each, latents, embeddings.of(groups)) for each in passes]
        return passes, embeddings


def _canvas(pipe: Any, task: Task, images: Sequence[Image.Image | None], device: torch.device) -> Canvas:
    frames, factor = task.num_frames, pipe.vae_scale_factor_temporal
    if frames % factor != 1:
        frames = frames // factor * factor + 1  # as the pipelines round it
    # noise from the CPU is the same for every device
    generator = torch.Generator("cpu").manual_seed(task.seed)
    shape = (task.height, task.width, frames, torch.float32, device, generator, None)
    if not isinstance(pipe, WanImageToVideoPipeline):
        return Canvas(pipe.prepare_latents(1, pipe.transformer.config.in_channels, *shape))
    first, last = (_tensor(pipe, task, image, device) for image in images)
    latents, condition, *mask = pipe.prepare_latents(first, 1, pipe.vae.config.z_dim, *shape, last)
    return Canvas(latents, first=condition) if mask else Canvas(latents, channels=condition)


def _clip_embeds(pipe: Any, images: Sequence[Image.Image | None], device: torch.device) -> torch.Tensor | None:
    """Return CLIP's tokens of the images `(images, 257, image_dim)`; None if the transformer reads none."""
    if not isinstance(pipe, WanImageToVideoPipeline) or pipe.transformer.config.image_dim is None:
        return None
    return pipe.encode_image([image for image in images if image is not None], device)


def _tensor(pipe: Any, task: Task, image: Image.Image | None, device: torch.device) -> torch.Tensor | None:
    if image is None:
        return None
    ready: torch.Tensor = pipe.video_processor.preprocess(image, height=task.height, width=task.width)
    return ready.to(device, torch.float32)


def _groups(number: int, latents: torch.Tensor, canvas: Canvas, framewise: bool) -> torch.Tensor:
    """Return the timestep of each group of tokens: 0 for an image, else `number`.

    All tokens are one group, unless the first frame is an image: then each frame is one, or each token if not
    `framewise`.
    """
    if canvas.first is None:
        return torch.full((1,), number, device=latents.device)
    frames, height, width = latents.shape[2:]
    each = torch.full((frames,), number, device=latents.device)
    each[0] = 0
    return each if framewise else each.repeat_interleave(height * width // 4)


def _guidance(task: Task, name: str) -> float:
    if name == "transformer_2" and task.guidance_scale_2 is not None:
        return task.guidance_scale_2
    return task.guidance_scale
