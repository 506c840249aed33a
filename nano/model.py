"""Clips by the family in diffusers' own pipelines, with the registry's defaults."""

from collections.abc import Sequence
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


def make_clips(
    folder: Path, requests: Sequence[ClipRequest], desc: str, guidance: float | None = None, side: int = 64
) -> list[Clip]:
    """Return a clip for each request; either all requests have an image or none."""
    import torch
    from PIL import Image

    result: list[Clip] = []
    for start in tqdm(range(0, len(requests), BATCH), desc=desc, leave=False):
        batch = requests[start : start + BATCH]
        settings: dict[str, Any] = {
            "prompt": [one.prompt for one in batch],
            "negative_prompt": [one.negative for one in batch],
            "height": side,
            "width": side,
            "num_frames": FRAMES,
            "num_inference_steps": DEFAULTS.steps,
            "guidance_scale": DEFAULTS.guidance_scale if guidance is None else guidance,
            "output_type": "np",
        }
        if batch[0].image is None:
            generators = [torch.Generator().manual_seed(one.seed) for one in batch]
            result += _bytes(_pipeline("WanPipeline", folder)(**settings, generator=generators).frames)
            continue
        pipe = _pipeline("WanImageToVideoPipeline", folder)
        for one in batch:  # diffusers' pipeline takes one image for all prompts
            image: Any = one.image
            settings |= {"prompt": one.prompt, "negative_prompt": one.negative, "image": Image.fromarray(image)}
            result += _bytes(pipe(**settings, generator=torch.Generator().manual_seed(one.seed)).frames)
    return result


def _bytes(frames: NDArray[np.float32]) -> list[Clip]:
    return list((frames * 255.0).round().astype(np.uint8))


@cache
def _pipeline(kind: str, folder: Path) -> Any:
    import diffusers
    import torch

    pipe = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=torch.float32)
    shift = DEFAULTS.flow_shift.at(DEFAULTS.width, DEFAULTS.height)  # as the server sets it for each request
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=shift)
    pipe.set_progress_bar_config(disable=True)
    return pipe
