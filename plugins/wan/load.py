"""A model's parts from its folder to the device, shared through the pool."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Protocol

import diffusers
import torch
import transformers
from PIL import Image

from plugins.wan import checkpoint as checkpoints
from plugins.wan.checkpoint import DECODER, Checkpoint, Part
from plugins.wan.generate.preview import LatentMap, latent_map
from plugins.wan.generate.prompts import PromptCache
from plugins.wan.generate.schedulers import Schedulers
from plugins.wan.memory import free, out_of_memory
from plugins.wan.vae.fast_vae import fast_vae
from plugins.wan.weights.adapters.weights import AdapterPart, AdapterWeights
from plugins.wan.weights.placement import Placement, class_of, reading
from registry.families import PROMPT_TOKENS
from router import LoadFailed, ModelSpec, PartPath, Pool, Report, Task

OnStep = Callable[[int, torch.Tensor], None]  # called after each step with its number, from 1, and the latents


class ForwardPaths(Protocol):
    """A backend's own denoising loop, and the code path of each transformer."""

    @property
    def now(self) -> Mapping[str, PartPath]:
        """Return the path of each transformer, by part name."""

    def are_ours(self) -> bool:
        """Say whether the backend's own forward pass may run every transformer now."""

    def denoise(
        self,
        pipe: Any,
        task: Task,
        images: Sequence[Image.Image | None],
        embeds: Sequence[torch.Tensor],
        on_step: OnStep,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the latents of `task` `(1, c, t, h, w)` as `pipe` would with `output_type="latent"`.

        `images` are the first and the last frame, `embeds` the prompt and, with guidance, the negative prompt
        `(1, 512, text_dim)`. `weights` are those of a linear scheduler, None to step the scheduler itself.
        """

    def adapted(self, name: str, part: Any, used: Sequence[tuple[AdapterWeights, float]]) -> Any:
        """Return a transformer with adapters, each with its strength; `part` stays."""

    def require_adaptable(self, name: str, part: Any) -> None:
        """Raise `GenerationFailed` if diffusers' own loop may not run adapted layers."""

    def clear(self) -> None:
        """Release the transformers."""


MakePaths = Callable[[Mapping[str, Any]], ForwardPaths]


@dataclass
class Loaded:
    """A model that is ready to run.

    `parts` are the pipelines' components without the scheduler, which `schedulers` makes. `decoder` is a VAE without
    its encoder; `parts["vae"]` is one without its decoder, or `decoder` itself where no image comes in. `encoding`
    guards the state that diffusers keeps on the VAE while it encodes an image. `prompts` is shared by all models of one
    tokenizer and one encoder. `latent_map` makes previews, None for an unknown VAE. `paths` is None where diffusers'
    own loop always runs. `pool` lends the adapters of a request,
    `adapter_files` are the headers of those that were used.
    """

    checkpoint: Checkpoint
    parts: dict[str, Any]
    decoder: Any
    schedulers: Schedulers
    encoding: Lock
    prompts: PromptCache
    latent_map: LatentMap | None
    placement: Placement
    paths: ForwardPaths | None
    pool: Pool
    adapter_files: dict[Hashable, AdapterPart] = field(default_factory=dict)

    def drop(self, gone: bool) -> None:
        """Release the parts; with `gone`, also return their memory to the device."""
        self.parts.clear()
        self.decoder = None
        if self.paths is not None:
            self.paths.clear()
        if gone:
            free()


def load(
    model: ModelSpec,
    placement: Placement,
    pool: Pool,
    report: Report,
    prompt_cache_bytes: int,
    make_paths: MakePaths | None = None,
) -> Loaded:
    """Return `model` as `placement` reads its parts; raise `LoadFailed` for a bad folder."""
    _silence_libraries()
    if model.folder is None:
        raise LoadFailed(f"{model.name} needs a folder of weights, its source gave none")
    # a call of its own, so that running out of memory releases all of its parts
    with out_of_memory(f"loading {model.name}", "free memory on it, or choose a smaller model"):
        checkpoint = checkpoints.read(model.folder, model.parts)
        checkpoint.require(model)
        return _load(model, checkpoint, placement, pool, report, prompt_cache_bytes, make_paths)


def _load(
    model: ModelSpec,
    checkpoint: Checkpoint,
    placement: Placement,
    pool: Pool,
    report: Report,
    prompt_cache_bytes: int,
    make_paths: MakePaths | None,
) -> Loaded:
    if placement.device.startswith("cuda"):
        torch.cuda.set_device(placement.device)  # else every engine would also hold memory on the first GPU
    keys, parts = _pooled_parts(checkpoint.pooled(model.modality), placement, pool, report)
    for name in {DECODER, "vae"} & parts.keys():
        parts[name] = fast_vae(parts[name], placement.fast)
    decoder = parts.pop(DECODER)
    parts.setdefault("vae", decoder)
    return Loaded(
        checkpoint,
        parts,
        decoder,
        _schedulers(checkpoint.parts["scheduler"]),
        pool.part(("encoding", keys.get("vae")), Lock),
        _prompts(pool, keys, prompt_cache_bytes, placement.fast.short_text),
        latent_map(checkpoint.parts["vae"].folder, parts["vae"]),
        placement,
        None if make_paths is None else make_paths(parts),
        pool,
    )


def _pooled_parts(
    pooled: Sequence[Part], placement: Placement, pool: Pool, report: Report
) -> tuple[dict[str, Hashable], dict[str, Any]]:
    """Return each part's key and module by name; read parts that are not resident."""
    sizes = {part.name: sum(placement.tensor_sizes(part).values()) for part in pooled}
    progress = LoadProgress(report, sum(sizes.values()))
    keys: dict[str, Hashable] = {}
    stamps = {part.name: placement.stamps(part) for part in pooled}
    for part in pooled:
        keys[part.name] = placement.key(part, pool)
        progress.add(0)  # the digest of a large file takes a while
    pool.reserve({keys[part.name]: placement.device_bytes(part) for part in pooled})
    parts: dict[str, Any] = {}
    for part in pooled:
        read = partial(_read, part, placement, progress, stamps[part.name])
        parts[part.name] = pool.part(keys[part.name], read, placement.offloader(part))
        progress.complete(sizes[part.name])
    return keys, parts


def _read(part: Part, placement: Placement, progress: "LoadProgress", before: Hashable) -> Any:
    """Return a part's module; raise `LoadFailed` if its files changed since `before`."""
    value = placement.read(part, progress.add)
    if placement.stamps(part) != before:  # the pool would keep these weights under the digest of others
        raise LoadFailed(f"the files of {part.name} changed while they were read: try again when they are whole")
    return value


def _prompts(pool: Pool, keys: Mapping[str, Hashable], limit: int, short: bool) -> PromptCache:
    # the keys have the files, the classes, the dtype and the device; the cleaning is the same in a process
    encoding = (keys["tokenizer"], keys["text_encoder"], PROMPT_TOKENS, short)
    return pool.part(("prompts", encoding, limit), lambda: PromptCache(limit))


def _schedulers(part: Part) -> Schedulers:
    with reading(part):
        schedulers = Schedulers(class_of(part), dict(part.config))
        schedulers.new(1.0)  # finds a bad configuration now, not in each job
        return schedulers


class LoadProgress:
    """Report loaded bytes of `total`; resident parts count when the model takes them."""

    def __init__(self, report: Report, total: int) -> None:
        self._report = report
        self._total = total
        self._complete = 0  # of whole parts
        self._done = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes of the current part; may raise `JobCancelled`."""
        self._done = min(self._done + size, self._total)
        self._report(self._done, self._total)

    def complete(self, size: int) -> None:
        """Count the current part, of `size` bytes, as whole."""
        self._complete += size
        self._done = self._complete
        self._report(self._done, self._total)


def _silence_libraries() -> None:
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
