"""The lessons of a distillation: noises, prompts and the teacher's clips of them."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from numpy.typing import NDArray
from tqdm import tqdm

from nano.captions import FULL, MOTION, PARTIAL, Caption, describe
from nano.measure import observe
from nano.model import DEFAULT
from nano.parts import Z_DIM
from nano.scene import Scene, Subject, draw_scene, render, subjects
from nano.training.diffusion import Texts
from nano.training.latents import Size, means, normalised, to_clips
from nano.training.loop import Draw, draw
from nano.training.sampling import Experts, Prompt
from nano.training.vae import to_floats

KNOWN = subjects(held_out=False)
BATCH = 32
WHOLE = 0.85  # the share of captions with all aspects; the other captions leave some out


@dataclass(frozen=True)
class Lessons:
    """Noises, the final latents of each, texts, and images in image-to-video.

    Noises and latents are `(n, z, t, h, w)`.
    """

    noise: torch.Tensor
    final: torch.Tensor
    texts: list[str]
    subjects: list[tuple[str, ...]]  # the fields of each `Subject`
    images: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class School:
    """A teacher with the shared parts of its model."""

    teacher: Experts
    vae: AutoencoderKLWan
    text: Texts
    with_image: bool = False
    checked: bool = True  # leave out clips that do not show what their captions name


@torch.no_grad()
def lessons(school: School, stage: str, size: Size, folder: Path) -> Lessons:
    """Return the lessons of one size; `folder` keeps them for the next call.

    They show subjects of the training only.
    """
    name = f"{stage}-image" if school.with_image else stage
    path = folder / f"lessons-{name}-{size.name}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        torch.save(vars(_taught(school, f"lessons {name} {size.name}", size)), draft)
        draft.rename(path)
    return Lessons(**torch.load(path, weights_only=True))


def _taught(school: School, name: str, size: Size) -> Lessons:
    lessons: list[Lessons] = []
    drawn = 0
    with tqdm(total=size.count, desc=name, mininterval=5.0) as bar:
        while bar.n < size.count:
            lessons.append(_batch(school, size, draw(name, drawn)))
            drawn += _batch_size(size)
            bar.update(len(lessons[-1]))
            bar.set_postfix(right=f"{bar.n / drawn:.2f}", refresh=False)
    images = [one.images for one in lessons if one.images is not None]
    return Lessons(
        noise=torch.cat([one.noise for one in lessons]),
        final=torch.cat([one.final for one in lessons]),
        texts=[text for one in lessons for text in one.texts],
        subjects=[subject for one in lessons for subject in one.subjects],
        images=torch.cat(images) if images else None,
    )


def _batch_size(size: Size) -> int:
    return min(BATCH, size.count)


def _batch(school: School, size: Size, random: Draw) -> Lessons:
    """Return the lessons of one batch, without those of wrong clips."""
    count = _batch_size(size)
    chosen = [KNOWN[row] for row in random.rng.integers(len(KNOWN), size=count)]
    scenes = [draw_scene(one, random.rng) for one in chosen] if school.with_image else []
    image = images_of(school, scenes, size) if school.with_image else None
    captions = [_caption(one, school.with_image, random.rng) for one in chosen]
    shape = (Z_DIM, 1 + size.frames // 4, size.height // 8, size.width // 8)
    noise = torch.randn(count, *shape, generator=random.torch)
    prompt = Prompt(school.text([one.text for one in captions]), school.text([""] * count), image)
    final = school.teacher.sample(noise.to(prompt.text.device), prompt, DEFAULT).cpu()
    shown = zip(to_clips(school.vae, final), chosen, captions, strict=True)
    kept = [
        index
        for index, (clip, subject, caption) in enumerate(shown)
        if not school.checked or _shows(clip, subject, caption, school.with_image)
    ]
    return Lessons(
        noise=noise[kept].half(),
        final=final[kept].half(),
        texts=[captions[index].text for index in kept],
        subjects=[astuple(chosen[index]) for index in kept],
        images=None if image is None else image[kept].half(),
    )


def images_of(school: School, scenes: Sequence[Scene], size: Size) -> torch.Tensor:
    """Return the latents of the scenes' first frames, as the model's pipeline makes them."""
    clips = to_floats([render(scene, size.width, size.height, size.frames) for scene in scenes])
    clips[:, :, 1:] = 0.0  # as WanImageToVideoPipeline fills the frames to come
    if school.teacher.image == "frame":
        clips = clips[:, :, :1]
    return normalised(school.vae, means(school.vae, clips))


def _caption(subject: Subject, with_image: bool, rng: np.random.Generator) -> Caption:
    if with_image:
        return describe(subject, rng, MOTION if rng.random() < 0.7 else FULL)
    return describe(subject, rng, FULL if rng.random() < WHOLE else PARTIAL)


def _shows(clip: NDArray[np.uint8], subject: Subject, caption: Caption, with_image: bool) -> bool:
    seen = observe(clip)
    # an image shows colour and shape, whatever its text leaves out
    named = subject if with_image else caption
    expected = (named.colour, named.shape, caption.direction)
    found = (seen.colour, seen.shape, seen.direction)
    return seen.shape is not None and all(one in (None, other) for one, other in zip(expected, found, strict=True))
