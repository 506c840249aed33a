"""From a folder to parts on the device, shared through the pool."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from plugins.diffusers_backend import checkpoint as checkpoints
from plugins.diffusers_backend import identity
from plugins.diffusers_backend.checkpoint import WEIGHTLESS, Checkpoint, Part
from plugins.diffusers_backend.device import attention_for, dtype_for
from plugins.diffusers_backend.memory import is_device_lost, is_out_of_memory, out_of_memory
from plugins.diffusers_backend.options import Options
from plugins.diffusers_backend.preview import LatentMap, latent_map
from plugins.diffusers_backend.prompts import PromptCache
from router import LoadFailed, Modality, ModelSpec, Pool, Report

# The VAE stays in fp32: encoding in bf16 visibly drifts, and one part serves both directions.
# CLIP does too, as in the published recipe.
IN_FP32 = ("vae", "image_encoder")
# what the libraries raise for files that are cut, missing or of another shape
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)


@dataclass(frozen=True)
class Place:
    """Where the parts of one model go, and what changes them on the way."""

    device: str
    dtype: torch.dtype
    attention: str

    def key(self, part: Part) -> Hashable:
        """Return the name of `part` in the pool."""
        with _reading(part):
            files = identity.of_folder(part.folder)
        if part.name in WEIGHTLESS:
            return (part.class_name, files)
        attention = self.attention if _is_transformer(part) else ""
        return (part.class_name, files, str(self.dtype_of(part)), self.device, attention)

    def dtype_of(self, part: Part) -> torch.dtype:
        return torch.float32 if part.name in IN_FP32 else self.dtype


@dataclass
class Loaded:
    """A model that is ready to run.

    `parts` has what the pipelines are made of, but for the scheduler: that one has state, so each
    request gets its own from `scheduler` and `scheduler_config`. `encoding` guards what
    diffusers keeps on the VAE while it encodes an image. `prompts` are shared by all models of one encoder.
    `latent_map` makes previews; None where the VAE's is not known.
    """

    checkpoint: Checkpoint
    parts: dict[str, Any]
    scheduler: type[Any]
    scheduler_config: Mapping[str, Any]
    encoding: Lock
    prompts: PromptCache
    latent_map: LatentMap | None

    def drop(self) -> None:
        self.parts.clear()


def load(model: ModelSpec, device: str, pool: Pool, report: Report) -> Loaded:
    """Return `model` on `device`; raise `LoadFailed` with what its folder lacks."""
    _silence()
    if model.folder is None:
        raise LoadFailed(f"{model.name} needs a folder of weights, its source gave none")
    with out_of_memory(f"loading {model.name}", "free memory on it, or choose a smaller model"):
        return _load(model, model.folder, device, pool, report)


def _load(model: ModelSpec, folder: Path, device: str, pool: Pool, report: Report) -> Loaded:
    options = Options.of(model)
    checkpoint = checkpoints.read(folder)
    checkpoint.require(model.modality)
    dtype = dtype_for(options.dtype, device)
    place = Place(device, dtype, attention_for(options.attention, device, dtype))
    if device.startswith("cuda"):
        torch.cuda.set_device(device)  # else every engine would also hold memory on the first card
    pooled = [part for part in checkpoint.parts.values() if part.name != "scheduler"]
    keys = {part.name: place.key(part) for part in pooled}
    parts = {}
    for done, part in enumerate(pooled, 1):
        parts[part.name] = pool.part(keys[part.name], lambda part=part: _load_part(part, place))
        report(done, len(pooled))
    _require_image_conditioning(model, parts)
    return Loaded(
        checkpoint,
        parts,
        *_scheduler(checkpoint.parts["scheduler"]),
        pool.part(("encoding", keys["vae"]), Lock),
        pool.part(
            ("prompts", keys["text_encoder"], options.prompt_cache_bytes),
            lambda: PromptCache(options.prompt_cache_bytes),
        ),
        latent_map(checkpoint.parts["vae"].folder, parts["vae"]),
    )


def _scheduler(part: Part) -> tuple[type[Any], Mapping[str, Any]]:
    """Return the scheduler's class and its configuration."""
    with _reading(part):
        cls = _class(part)
        return cls, cls.load_config(part.folder)


def _load_part(part: Part, place: Place) -> Any:
    """Read one part from its folder, its weights straight to the device."""
    with _reading(part):
        cls = _class(part)
        if part.name in WEIGHTLESS:
            return cls.from_pretrained(part.folder, local_files_only=True)
        loaded = _load_weights(cls, part, place)
    if _is_transformer(part):
        _set_attention(loaded, place.attention)
    return loaded


def _load_weights(cls: Any, part: Part, place: Place) -> Any:
    lack = f"{part.folder} lacks weights that a {part.class_name} of its config.json needs"
    try:
        loaded, info = cls.from_pretrained(
            part.folder,
            dtype=place.dtype_of(part),
            device_map=place.device,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except NotImplementedError as error:  # diffusers: a weight that no file filled cannot go to the device
        raise LoadFailed(lack) from error
    if info["missing_keys"]:  # transformers fills them with random numbers and goes on
        raise LoadFailed(f"{lack}, such as {min(info['missing_keys'])}")
    return loaded


def _set_attention(transformer: Any, name: str) -> None:
    try:
        transformer.set_attention_backend(name)
    except UNREADABLE as error:
        raise LoadFailed(f"attention {name} must be usable on this machine, trying it gave {_brief(error)}") from error


@contextmanager
def _reading(part: Part) -> Iterator[None]:
    """Turn what the libraries raise for bad files into `LoadFailed`."""
    try:
        yield
    except UNREADABLE as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        needed = f"{part.folder} must hold a whole {part.class_name}"
        raise LoadFailed(f"{needed}, reading it gave {_brief(error)}") from error


def _class(part: Part) -> Any:
    return getattr(importlib.import_module(part.library), part.class_name)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _require_image_conditioning(model: ModelSpec, parts: Mapping[str, Any]) -> None:
    """Raise `LoadFailed` where a transformer wants CLIP's view of the images and the folder has no such thing."""
    config = parts["transformer"].config
    if config.image_dim is None:
        return
    if "image_encoder" not in parts or "image_processor" not in parts:
        raise LoadFailed(f"{model.folder} needs an image_encoder and an image_processor: its transformer has image_dim")
    if model.modality is Modality.FLF2V and config.pos_embed_seq_len is None:
        raise LoadFailed(f"{model.folder} takes one image (pos_embed_seq_len is null), flf2v needs two")


def _is_transformer(part: Part) -> bool:
    return part.name.startswith("transformer")


def _silence() -> None:
    """Keep the libraries' progress bars and remarks off the engine's log."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
