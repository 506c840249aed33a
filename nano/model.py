"""Clips by the family in diffusers' own pipelines, with the registry's defaults."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nano.requests import Clip, ClipRequest
from nano.scene import FRAMES
from registry.families import FAMILIES

BATCH = 20
DEFAULTS = next(family.defaults for family in FAMILIES if family.name == "wan-nano-t2v")


@dataclass(frozen=True)
class Sampling:
    """The settings of a denoising."""

    steps: int
    guidance_scale: float
    flow_shift: float


DEFAULT = Sampling(DEFAULTS.steps, DEFAULTS.guidance_scale, DEFAULTS.flow_shift.at(DEFAULTS.width, DEFAULTS.height))
FAST4 = Sampling(steps=4, guidance_scale=1.0, flow_shift=3.0)  # of the adapters `fast4`


def make_clips(
    folder: Path, requests: Sequence[ClipRequest], desc: str, settings: Sampling = DEFAULT, side: int = 64
) -> list[Clip]:
    """Return a clip for each request; either all requests have an image or none."""
    import torch
    from PIL import Image

    result: list[Clip] = []
    for start in tqdm(range(0, len(requests), BATCH), desc=desc, leave=False):
        batch = requests[start : start + BATCH]
        options: dict[str, Any] = {
            "prompt": [one.prompt for one in batch],
            "negative_prompt": [one.negative for one in batch],
            "height": side,
            "width": side,
            "num_frames": FRAMES,
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance_scale,
            "output_type": "np",
        }
        if batch[0].image is None:
            generators = [torch.Generator().manual_seed(one.seed) for one in batch]
            result += _bytes(
                _pipeline("WanPipeline", folder, settings.flow_shift)(**options, generator=generators).frames
            )
            continue
        pipe = _pipeline("WanImageToVideoPipeline", folder, settings.flow_shift)
        for one in batch:  # diffusers' pipeline takes one image for all prompts
            image: Any = one.image
            options |= {"prompt": one.prompt, "negative_prompt": one.negative, "image": Image.fromarray(image)}
            result += _bytes(pipe(**options, generator=torch.Generator().manual_seed(one.seed)).frames)
    return result


def _bytes(frames: NDArray[np.float32]) -> list[Clip]:
    return list((frames * 255.0).round().astype(np.uint8))


@cache
def _pipeline(kind: str, folder: Path, flow_shift: float) -> Any:
    import diffusers
    import torch

    pipe = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=torch.float32)
    # as the server sets it for each request
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=flow_shift)
    pipe.set_progress_bar_config(disable=True)
    return pipe
