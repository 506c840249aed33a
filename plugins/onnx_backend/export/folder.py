"""An export as a whole: a folder that is complete or absent."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from plugins.onnx_backend.export.graph import config_of, empty_transformer, write_graph
from plugins.onnx_backend.graph import FILE as GRAPH
from plugins.onnx_backend.graph import WEIGHTS
from plugins.onnx_backend.record import FILE, OPSET, Record, digest, version
from plugins.wan import checkpoint as checkpoints
from plugins.wan import merged
from plugins.wan.checkpoint import Checkpoint, Part
from plugins.wan.tuning.switches import OFF
from plugins.wan.weights import safetensors
from plugins.wan.weights.adapters.merge import MergedAdapters
from plugins.wan.weights.placement import DTYPES, Placement, reading
from plugins.wan.weights.safetensors import StoredTensor, TensorTypes
from registry.folders.files import PICKLES
from router import LoadFailed

LIBRARIES = ("framegate", "torch", "diffusers", "transformers", "onnx", "onnxscript")
NO_ADAPTERS = MergedAdapters(())
DRAFT, LOCK = ".partial", ".lock"
COPY_BYTES = 16 * 2**20
HEAVY = (".safetensors", ".gguf", *PICKLES)  # endings of weights


class Progress(Protocol):
    def __call__(self, doing: str, done: int, total: int) -> None:
        """Report `done` of `total` bytes or stages of `doing`."""


@dataclass(frozen=True)
class Source:
    """The model to export: a folder in diffusers layout, name, commit and adapters."""

    folder: Path
    name: str
    revision: str | None
    adapters: MergedAdapters = NO_ADAPTERS


def export(source: Source, target: Path, dtype: str, progress: Progress) -> None:
    """Write `source` to `target` with its transformers as graphs, and their weights, in `dtype`.

    Its adapters become part of these weights. The graphs read the safetensors files beside them, so the folder is also
    a model for diffusers. Raises `LoadFailed` for an incomplete source or a target that cannot be written; after an
    error or an interrupt there is no `target`.
    """
    target = target.resolve()
    _require_free(target)
    checkpoint = checkpoints.read(source.folder)
    try:
        with _draft(target) as draft:
            _fill(draft, source, checkpoint, dtype, progress)
            _require_free(target)
            if target.exists():
                target.rmdir()
            draft.rename(target)
    except OSError as error:
        raise LoadFailed(f"{target} could not be written: {error.strerror or error}") from error


def _require_free(target: Path) -> None:
    if target == Path.cwd() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise LoadFailed(f"{target} must be a folder that is new or empty, it holds something")


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`; remove the drafts of killed processes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in target.parent.glob(f".{target.name}.*{DRAFT}"):
        with suppress(OSError), (path / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}{DRAFT}")  # one of tempfile would be private
    draft.mkdir()
    try:
        with (draft / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fill(draft: Path, source: Source, checkpoint: Checkpoint, dtype: str, progress: Progress) -> None:
    model = checkpoint.folder
    write = partial(write_graph, framewise=model.expand_timesteps, image_tokens=model.image_tokens)
    _copy_others(source.folder, checkpoint, draft, progress)
    graphs: dict[str, Path] = {}  # by configuration, which the experts of a model share
    for part in checkpoint.parts.values():
        if part.is_transformer:
            _export_transformer(part, source.adapters, draft / part.name, DTYPES[dtype], write, graphs, progress)
    merged.write(draft, {adapter.name: (used.high, used.low) for adapter, used in source.adapters.adapters})
    files = [path.relative_to(draft).as_posix() for path in sorted(draft.rglob("*")) if path.is_file()]
    files.remove(LOCK)
    digests = {}
    for done, name in enumerate(files):
        progress("computing digests", done, len(files))
        digests[name] = digest(draft / name)
    progress("computing digests", len(files), len(files))
    libraries = {name: found for name in LIBRARIES if (found := version(name)) is not None}
    (draft / LOCK).unlink()
    Record(source.name, source.revision, dtype, OPSET, libraries, digests).write(draft)
    os.sync()


def _export_transformer(
    part: Part,
    adapters: MergedAdapters,
    target: Path,
    dtype: torch.dtype,
    write: Callable[..., None],
    graphs: dict[str, Path],
    progress: Progress,
) -> None:
    target.mkdir()
    with reading(part):
        config = config_of(part.folder)
    shutil.copyfile(part.folder / "config.json", target / "config.json")
    model = empty_transformer(config, dtype)
    types = {name: (parameter.dtype, tuple(parameter.shape)) for name, parameter in model.named_parameters()}
    stored = _stored(part, types)  # before the slow tracing
    header, positions = safetensors.layout(target / WEIGHTS, types)
    deltas = adapters.deltas(part, Placement("cpu", torch.float32, OFF))
    key = repr(sorted(config.items()))
    if key in graphs:
        shutil.copyfile(graphs[key], target / GRAPH)
    else:
        progress(f"{part.name}: tracing its graph", 0, 1)
        write(model, weights=positions, path=target / GRAPH)
        progress(f"{part.name}: tracing its graph", 1, 1)
        graphs[key] = target / GRAPH
    read = ((name, stored[name].read(), kind) for name, (kind, _) in types.items())
    cast = ((deltas[name].merged(each.float()) if name in deltas else each).to(kind) for name, each, kind in read)
    _write_weights(part, target / WEIGHTS, header, cast, sum(one.length for one in positions.values()), progress)


def _write_weights(
    part: Part, path: Path, header: bytes, tensors: Iterable[torch.Tensor], total: int, progress: Progress
) -> None:
    done = 0

    def written(count: int) -> None:
        nonlocal done
        done += count
        progress(f"{part.name}: writing its weights", done, total)

    safetensors.write(path, header, tensors, written)


def _stored(part: Part, types: TensorTypes) -> dict[str, StoredTensor]:
    assert part.weights is not None  # a transformer's
    stored = safetensors.stored_in(part.weights)
    for name, (_, shape) in types.items():
        if name not in stored:
            raise LoadFailed(f"{part.name} lacks weights that a {part.class_name} of its config.json needs: {name}")
        if stored[name].shape != shape:
            raise LoadFailed(f"{name} of {part.name} must have the shape {shape}, got {stored[name].shape}")
    return stored


def _copy_others(folder: Path, checkpoint: Checkpoint, draft: Path, progress: Progress) -> None:
    """Copy all files but the transformers' and unread weights."""
    # byte by byte, so that the pool shares the parts; unread weights are older files beside an index of shards, say
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != FILE]
    for part in checkpoint.parts.values():
        if not part.is_transformer:
            found += [path for path in sorted(part.folder.rglob("*")) if path.is_file()]
    read = {file for part in checkpoint.parts.values() if part.weights for file in part.weights.files}
    found = [path for path in found if path in read or path.suffix not in HEAVY]
    total, done = sum(path.stat().st_size for path in found), 0
    for path in found:
        target = draft / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        for count in _copied(path, target):
            done += count
            progress("copying what stays in torch", done, total)


def _copied(source: Path, target: Path) -> Iterator[int]:
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(COPY_BYTES):
            written.write(block)
            yield len(block)
