"""From a folder to parts on the device, shared through the pool."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import diffusers
import torch
import transformers

from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.paths import Paths
from plugins.diffusers_backend.options import Options
from plugins.wan import checkpoint as checkpoints
from plugins.wan.checkpoint import DECODER, Checkpoint, Part
from plugins.wan.generate.preview import LatentMap, latent_map
from plugins.wan.generate.prompts import TOKENS, PromptCache
from plugins.wan.generate.schedulers import Schedulers
from plugins.wan.memory import free, out_of_memory
from plugins.wan.vae.fast_vae import fast_vae
from plugins.wan.weights.placement import Placement, class_of, reading
from plugins.wan.weights.progress import Progress
from router import LoadFailed, ModelSpec, Pool, Report


@dataclass
class Loaded:
    """A model that is ready to run.

    `parts` has what the pipelines are made of, but for the scheduler, which comes from `schedulers`. `decoder` is a VAE
    without its encoder; the pipelines' is another without its decoder, or the same where no image comes in. `encoding`
    guards what diffusers keeps on the VAE while it encodes an image. `prompts` are shared by all models of one
    tokenizer and one encoder. `latent_map` makes previews; None where the VAE's is not known. `paths` says by which
    forward pass each transformer runs. `place` is where the parts are.
    """

    checkpoint: Checkpoint
    parts: dict[str, Any]
    decoder: Any
    schedulers: Schedulers
    encoding: Lock
    prompts: PromptCache
    latent_map: LatentMap | None
    paths: Paths
    place: Placement

    @property
    def networks(self) -> Mapping[str, Network]:
        """Our forward passes of the transformers, by their names; those that are not there run by diffusers' own."""
        return self.paths.networks

    def drop(self, gone: bool) -> None:
        """Let go of the parts; `gone` says that some leave memory now, so the device gets it back."""
        self.parts.clear()
        self.decoder = None
        self.paths.clear()
        if gone:
            free()


def load(model: ModelSpec, device: str, pool: Pool, report: Report) -> Loaded:
    """Return `model` on `device`; raise `LoadFailed` with what its folder lacks."""
    options = Options.of(model)
    place = Placement.of(options, device)
    return assemble(model, place, pool, report, options.prompt_cache_bytes)


def assemble(model: ModelSpec, place: Placement, pool: Pool, report: Report, prompt_cache_bytes: int) -> Loaded:
    """Return `model` made of the parts that `place` reads; raise `LoadFailed` with what its folder lacks."""
    _silence()
    if model.folder is None:
        raise LoadFailed(f"{model.name} needs a folder of weights, its source gave none")
    with out_of_memory(f"loading {model.name}", "free memory on it, or choose a smaller model"):
        checkpoint = checkpoints.read(model.folder)
        checkpoint.require(model)
        return _assemble(model, checkpoint, place, pool, report, prompt_cache_bytes)


def _assemble(
    model: ModelSpec, checkpoint: Checkpoint, place: Placement, pool: Pool, report: Report, prompt_cache_bytes: int
) -> Loaded:
    if place.device.startswith("cuda"):
        torch.cuda.set_device(place.device)  # else every engine would also hold memory on the first card
    pooled = checkpoint.pooled(model.modality)
    weights = {part.name: place.weights(part) for part in pooled}
    progress = Progress(report, sum(weights.values()))
    keys = {}
    for part in pooled:
        keys[part.name] = place.key(part, pool)
        progress.arrived(0)  # the digest of a large file takes a while
    pool.reserve({keys[part.name]: place.size(part) for part in pooled})
    parts = {}
    for part in pooled:
        read = partial(place.read, part, progress.arrived)
        parts[part.name] = pool.part(keys[part.name], read, place.tier(part))
        progress.has(weights[part.name])
    for name in {DECODER, "vae"} & parts.keys():
        parts[name] = fast_vae(parts[name], place.fast)
    decoder = parts.pop(DECODER)
    parts.setdefault("vae", decoder)
    return Loaded(
        checkpoint,
        parts,
        decoder,
        _schedulers(checkpoint.parts["scheduler"]),
        pool.part(("encoding", keys.get("vae")), Lock),
        _prompts(pool, keys, prompt_cache_bytes, place.fast.short_text),
        latent_map(checkpoint.parts["vae"].folder, parts["vae"]),
        Paths(parts, place.fast, pool, place.attention),
        place,
    )


def _prompts(pool: Pool, keys: Mapping[str, Hashable], limit: int, short: bool) -> PromptCache:
    """Return the prompts of all models that encode a text alike."""
    # the keys have the files, the classes, the dtype and the device; the cleaning is the process's own
    encoding = (keys["tokenizer"], keys["text_encoder"], TOKENS, short)
    return pool.part(("prompts", encoding, limit), lambda: PromptCache(limit))  # type: ignore[no-any-return]


def _schedulers(part: Part) -> Schedulers:
    with reading(part):
        schedulers = Schedulers(class_of(part), dict(part.config))
        schedulers.new(1.0)  # what is wrong with it is found now, not by each job
        return schedulers


def _silence() -> None:
    """Keep the libraries' progress bars and remarks off the engine's log."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
