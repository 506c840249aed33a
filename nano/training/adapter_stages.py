"""The stages that train the adapters, from the weights of the family."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import nn
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from nano.adapters import adapter_files
from nano.family import RECIPES
from nano.scene import FRAMES
from nano.training import diffusion, distillation, noir
from nano.training.adapters import attach, save
from nano.training.diffusion import Task
from nano.training.latents import BRIEF, Size, latents, prepare
from nano.training.lessons import School, lessons
from nano.training.loop import Loss, M, Plan, train
from nano.training.sampling import Experts

IMAGES = {"wan-nano-i2v": "channels", "wan-nano-ti2v": "frame"}


@dataclass(frozen=True)
class Course:
    """The distillation of one model: its plan, and the counts of its lessons."""

    model: str
    plan: Plan
    ranks: tuple[int, ...]  # of the transformers' adapters
    texts: int = 0  # lessons from texts alone
    images: int = 0


@dataclass(frozen=True)
class Style:
    """The training of one transformer in a style."""

    model: str
    part: str
    task: Task
    rank: int


def _plan(name: str, steps: int, rate: float) -> Plan:
    return Plan(name, steps, rate, warmup=10, decay=0.0, memory=0.96)


COURSES = (
    Course("wan-nano-t2v", _plan("fast4-t2v", 480, 1e-3), ranks=(4, 8), texts=1200),
    Course("wan-nano-ti2v", _plan("fast4-ti2v", 160, 1.2e-3), ranks=(4,), texts=400, images=500),
    Course("wan-nano-i2v", _plan("fast4-i2v", 150, 1e-3), ranks=(4, 4), images=400),
)
STYLES = (
    Style("wan-nano-t2v", "transformer", Task(_plan("noir-t2v-high", 150, 2e-3), low=0.875), rank=2),
    Style("wan-nano-t2v", "transformer_2", Task(_plan("noir-t2v-low", 300, 2e-3), high=0.875), rank=4),
)


@dataclass(frozen=True)
class AdapterStudio:
    """The stages of the adapters; each writes a file beside the weights."""

    weights: Path
    work: Path
    device: torch.device
    brief: bool

    def run(self) -> None:
        for course in COURSES:
            self._distil(course)
        for style in STYLES:
            self._style(style)

    def school(self, model: str, with_image: bool = False) -> School:
        """Return the teacher of a model, its transformers without adapters."""
        recipe = RECIPES[model]
        transformers = {part: self._transformer(model, part) for part in recipe.transformers}
        boundary: Any = recipe.settings["boundary_ratio"]
        teacher = Experts(transformers, boundary, IMAGES.get(model))
        return School(teacher, self._vae(), self._text(), with_image, checked=not self.brief)

    def _distil(self, course: Course) -> None:
        taught = [
            lessons(self.school(course.model, with_image), course.model, self._size(count), self.work)
            for with_image, count in ((False, course.texts), (True, course.images))
            if count
        ]
        student = self.school(course.model)
        for transformer, rank in zip(student.teacher.transformers.values(), course.ranks, strict=True):
            attach(transformer, rank)
        loss = distillation.loss(student.teacher, taught, student.text, self.device)
        trained = self._train(course.plan, nn.ModuleDict(student.teacher.transformers), loss)
        for part, path in adapter_files(course.model, "fast4", self.weights).items():
            save(trained[part], path)

    def _style(self, style: Style) -> None:
        sizes = BRIEF if self.brief else noir.SIZES
        data = [latents(self._vae(), size, self.work, noir.black_and_white, "noir") for size in sizes]
        model = self._transformer(style.model, style.part)
        attach(model, style.rank)
        loss = diffusion.loss(style.task, model, data, self._text(), self.device)
        trained = self._train(style.task.plan, model, loss)
        save(trained, adapter_files(style.model, "noir", self.weights)[style.part])

    def _transformer(self, model: str, part: str) -> WanTransformer3DModel:
        found = WanTransformer3DModel.from_pretrained(self.weights / model / part, torch_dtype=torch.float32)
        diffusion.prepare(found)
        return found.requires_grad_(False).eval().to(self.device)

    def _vae(self) -> AutoencoderKLWan:
        found = AutoencoderKLWan.from_pretrained(self.weights / "shared" / "vae", torch_dtype=torch.float32)
        prepare(found)
        return found.requires_grad_(False).eval().to(self.device)

    def _text(self) -> diffusion.Texts:
        shared = self.weights / "shared"
        tokenizer = PreTrainedTokenizerFast.from_pretrained(shared / "tokenizer")
        encoder = UMT5EncoderModel.from_pretrained(shared / "text_encoder", torch_dtype=torch.float32)
        return diffusion.texts(tokenizer, encoder.eval().to(self.device), self.device)

    def _size(self, count: int) -> Size:
        return BRIEF[0] if self.brief else Size(64, 64, FRAMES, count)

    def _train(self, plan: Plan, module: M, loss: Loss) -> M:
        return train(replace(plan, steps=2) if self.brief else plan, module, loss, self.work)
