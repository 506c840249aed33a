"""The training set of the transformers: normalised latents, encoded once into a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from numpy.typing import NDArray
from tqdm import tqdm

from nano.scene import FRAMES, Scene, Subject, draw_scene, render, subjects
from nano.training.loop import autocast, draw
from nano.training.vae import channels_last, decode, encode, fast_norms, to_floats

Film = Callable[[Scene], Scene]


def as_drawn(scene: Scene) -> Scene:
    return scene


@dataclass(frozen=True)
class Size:
    width: int
    height: int
    frames: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}x{self.frames}"


SIZES = (Size(64, 64, FRAMES, 7200), Size(96, 96, FRAMES, 960))
WITH_IMAGE = 0.5  # the share of clips with latents of the first frame too, for the image-to-video model
BRIEF = (Size(32, 32, 5, 8), Size(48, 48, 5, 8))  # to see that a training runs
BATCH = 24


@dataclass(frozen=True)
class Latents:
    """The latents of one size of clips.

    `clips` are `(n, z, t, h, w)`; `images` likewise for the first clips; `subjects` belong to all clips.
    """

    clips: torch.Tensor
    images: torch.Tensor
    subjects: list[Subject]


@torch.no_grad()
def measure_scale(vae: AutoencoderKLWan) -> None:
    """Set the VAE's `latents_mean` and `latents_std` from rendered clips, for the pipelines."""
    latents = _means_of_all(vae, _sample())
    vae.register_to_config(
        latents_mean=[round(value, 4) for value in latents.mean(dim=(0, 2, 3, 4)).tolist()],
        latents_std=[round(value, 4) for value in latents.std(dim=(0, 2, 3, 4)).tolist()],
    )


@torch.no_grad()
def fit_colours(vae: AutoencoderKLWan) -> dict[str, list[object]]:
    """Return the linear map from normalised latents to colours in 0...1, for previews.

    It is the least-squares fit to rendered clips.
    """
    clips = _sample()
    latents = normalised(vae, _means_of_all(vae, clips)).permute(0, 2, 3, 4, 1).flatten(0, 3)
    small = torch.nn.functional.avg_pool3d(clips, (1, 8, 8)) * 0.5 + 0.5
    later = small[:, :, 1:].unflatten(2, (-1, 4)).mean(dim=3)  # a latent stands for four frames, but the first
    colours = torch.cat([small[:, :, :1], later], dim=2).permute(0, 2, 3, 4, 1).flatten(0, 3)
    fitted = torch.linalg.lstsq(torch.cat([latents, torch.ones(len(latents), 1)], dim=1), colours).solution
    rounded = [[round(value, 4) for value in row] for row in fitted.tolist()]
    return {"factors": rounded[:-1], "bias": rounded[-1]}


def _sample() -> torch.Tensor:
    random = draw("scale", 0).rng
    known = subjects(held_out=False)
    return to_floats([render(draw_scene(known[random.integers(len(known))], random)) for _ in range(128)])


def _means_of_all(vae: AutoencoderKLWan, clips: torch.Tensor) -> torch.Tensor:
    prepare(vae)
    return torch.cat([means(vae, batch) for batch in clips.split(16)])


def latents(vae: AutoencoderKLWan, size: Size, folder: Path, film: Film = as_drawn, name: str = "latents") -> Latents:
    """Return the latents of one size; `folder` keeps them for the next call.

    `film` changes each scene before it is rendered.
    """
    known = subjects(held_out=False)
    chosen = [known[index % len(known)] for index in range(size.count)]
    path = folder / f"{name}-{size.name}.pt"
    if not path.exists():
        clips, images = _encoded(vae, size, chosen, film, name)
        draft = path.with_suffix(".tmp")
        torch.save({"clips": clips, "images": images}, draft)
        draft.rename(path)
    saved = torch.load(path, weights_only=True)
    return Latents(saved["clips"], saved["images"], chosen)


def prepare(vae: AutoencoderKLWan) -> None:
    """Speed up a fully trained VAE on a CPU."""
    channels_last(vae)
    fast_norms(vae)


@torch.no_grad()
def _encoded(
    vae: AutoencoderKLWan, size: Size, chosen: list[Subject], film: Film, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    prepare(vae)
    clips, images = [], []
    with_image = int(size.count * WITH_IMAGE)
    for start in tqdm(range(0, size.count, BATCH), desc=f"{name} {size.name}", mininterval=5.0):
        random = draw(f"{name} {size.name}", start).rng
        scenes = [film(draw_scene(one, random, size.width / size.height)) for one in chosen[start : start + BATCH]]
        batch = to_floats([render(scene, size.width, size.height, size.frames) for scene in scenes])
        clips.append(normalised(vae, means(vae, batch)).half())
        if start < with_image:
            batch[:, :, 1:] = 0.0  # as WanImageToVideoPipeline fills the frames to come
            images.append(normalised(vae, means(vae, batch)).half())
    return torch.cat(clips), torch.cat(images)[:with_image]


def normalised(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Return the VAE's latents at mean 0 and variance 1 in each channel."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config["latents_mean"], vae.config["latents_std"]))
    return (latents - mean.to(latents)) / std.to(latents)


def means(vae: AutoencoderKLWan, clips: torch.Tensor) -> torch.Tensor:
    """Return the means of the posterior, as a pipeline encodes an image."""
    device = next(vae.parameters()).device
    with autocast(device):
        hidden = encode(vae, clips.to(device).to(memory_format=torch.channels_last_3d))
    return hidden.float().chunk(2, dim=1)[0].cpu()


@torch.no_grad()
def to_clips(vae: AutoencoderKLWan, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Return the clips `(b, n, h, w, 3)` of normalised latents."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config["latents_mean"], vae.config["latents_std"]))
    device = next(vae.parameters()).device
    with autocast(device):
        floats = decode(vae, (latents * std + mean).to(device)).float().cpu()
    frames = floats.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
    return np.asarray(frames.permute(0, 2, 3, 4, 1).numpy())
