"""Drives the diffusers backend, and stock diffusers beside it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from plugins import diffusers_backend as backend
from registry import Defaults, FlowShift, Input, Limits, Modality, ModelSpec, folders
from registry.folders import FolderError
from router import Frames, JobCancelled, Pixels, Preview, Task
from router.testing.contract import Subject

T2V, I2V, TI2V = "wan-nano-t2v", "wan-nano-i2v", "wan-nano-ti2v"


def spec(folder: Path, modality: Modality, options: Mapping[str, object] | None = None) -> ModelSpec:
    """Return the model of a folder as the registry would make it."""
    experts, multiple = 1, 16
    with suppress(FolderError):
        found = folders.read(folder)
        experts, multiple = found.experts, found.family.size_multiple
    return ModelSpec(
        name=folder.name,
        backend="diffusers",
        modality=modality,
        defaults=Defaults(64, 64, 17, 8, 4, 4.0, None, FlowShift(3.0, 3.0), ""),
        limits=Limits(128 * 128, 49, 60),
        size_multiple=multiple,
        experts=experts,
        folder=folder,
        options=backend.declare_backend().options().load(options or {}),  # type: ignore[misc]
    )


def task(**changes: Any) -> Task:
    """Return a task of four steps and nine frames in the nano models' vocabulary."""
    # guidance amplifies differences for any other words
    plain = Task(
        prompt="a red ball moves to the left",
        negative_prompt="a blue square",
        width=64,
        height=64,
        num_frames=9,
        frames_per_second=8,
        steps=4,
        guidance_scale=4.0,
        guidance_scale_2=None,
        flow_shift=5.0,
        seed=7,
        input_kinds=frozenset({Input.TEXT}),
    )
    return replace(plain, **changes)


def picture(seed: int = 0, width: int = 64, height: int = 64) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def small(subject: Subject) -> Subject:
    """Shrink a subject's task to five of the smallest frames."""
    # the least that uses all of a model
    pictures = {
        name: picture(number, 32, 32)
        for number, name in enumerate(("image", "last_image"))
        if getattr(subject.task, name) is not None
    }
    subject.task = replace(subject.task, num_frames=5, width=32, height=32, **pictures)
    return subject


class Reports(list[tuple[int, int]]):
    """Reported progress; raises `JobCancelled` at the `stop`-th report."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        self.append((done, total))
        if len(self) == self.stop:
            raise JobCancelled("stopped by the test")


class KeepingPool:
    """A pool that keeps every part."""

    def __init__(self) -> None:
        self.parts: dict[Hashable, Any] = {}

    def part(self, key: Hashable, load: Callable[[], Any], offloader: object = None) -> Any:
        if key not in self.parts:
            self.parts[key] = load()
        return self.parts[key]

    def private(self, load: Callable[[], Any]) -> Any:
        return load()

    def borrow(self) -> AbstractContextManager[Any]:
        return nullcontext(self)

    def reserve(self, sizes: Mapping[Hashable, int]) -> None:
        self.reserved = dict(sizes)

    def digest(self, path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()


def load(model: ModelSpec, pool: Any) -> Any:
    return backend.load_model(model, "cpu", pool, Reports())


def run(model: ModelSpec, loaded: Any, request: Task) -> Frames:
    return backend.generate(model, loaded, request, Reports())


def video(frames: Frames) -> Pixels:
    return np.concatenate(list(frames.pixels))


def make(folder: Path, modality: Modality, request: Task, pool: Any) -> Pixels:
    model = spec(folder, modality)
    return video(run(model, load(model, pool), request))


def stock(folder: Path, request: Task) -> Pixels:
    """Return the frames of a task by stock diffusers, all in fp32."""
    # as our backend computes on a CPU
    import torch
    from diffusers import DiffusionPipeline, UniPCMultistepScheduler, WanImageToVideoPipeline
    from PIL import Image

    pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pictures: dict[str, Any] = {}
    if request.image is not None:
        pipe = WanImageToVideoPipeline(**{"image_encoder": None, "image_processor": None} | pipe.components, **{
            key: pipe.config[key] for key in ("boundary_ratio", "expand_timesteps")
        })  # fmt: skip
        pictures["image"] = Image.fromarray(request.image)
    if request.last_image is not None:
        pictures["last_image"] = Image.fromarray(request.last_image)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=request.flow_shift)
    frames = pipe(**arguments(request), guidance_scale_2=request.guidance_scale_2, **pictures).frames[0]
    return (frames * 255).round().astype(np.uint8)


def arguments(request: Task) -> dict[str, Any]:
    """Return a task of text as the arguments of a pipeline's call."""
    import torch

    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "num_frames": request.num_frames,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "generator": torch.Generator().manual_seed(request.seed),
    }


def copy_of(folder: Path, to: Path) -> Path:
    """Copy a model's folder, its shared parts included."""
    return Path(shutil.copytree(folder, to / folder.name))


def edit_index(folder: Path, **changes: object) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
