"""Distil a model's guided steps into four without guidance."""

from collections.abc import Sequence

import torch
from torch.nn.utils import parametrize

from nano.model import FAST4
from nano.training.diffusion import COPIED, Texts, emphasis
from nano.training.lessons import Lessons
from nano.training.loop import Draw, Loss
from nano.training.sampling import Experts, Prompt

CLIPS = 24  # in a step, of the usual size
SOFT = 0.02  # errors above its root count by their size, below it by their square


def loss(student: Experts, lessons: Sequence[Lessons], text: Texts, device: torch.device) -> Loss:
    """Return the distance of the student's final latents from its teacher's, all steps unrolled."""
    smallest = min(one.noise[0].numel() for one in lessons)

    def step(draw: Draw) -> dict[str, torch.Tensor]:
        lesson = lessons[draw.step % len(lessons)]
        rows = draw.rng.integers(len(lesson), size=max(8, CLIPS * smallest // lesson.noise[0].numel()))
        noise, final = lesson.noise[rows].float().to(device), lesson.final[rows].float().to(device)
        image = None if lesson.images is None else lesson.images[rows]
        hidden = text([lesson.texts[row] for row in rows])
        with parametrize.cached():
            got = student.sample(noise, Prompt(hidden, hidden, image), FAST4)
        error = (got - final).square()
        weight = emphasis(final)
        if image is not None and student.image == "channels":
            weight[:, :, 0] *= COPIED
        # a shape between two kinds is far from both: large errors must not pull towards the middle
        distance = (error.mean(dim=1, keepdim=True) + SOFT).sqrt() - SOFT**0.5
        # where shape and background are alike, the same error blurs more
        contrast = final.std(dim=(2, 3, 4), keepdim=True).mean(dim=1, keepdim=True)
        return {"loss": (distance * weight / contrast).mean(), "error": (error * weight).mean()}

    return step
