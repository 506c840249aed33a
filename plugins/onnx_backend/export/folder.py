"""An export as a whole: a folder that is complete or absent."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from plugins.onnx_backend.export.graph import config_of, empty_transformer, write_graph
from plugins.onnx_backend.graph import FILE as GRAPH
from plugins.onnx_backend.graph import WEIGHTS
from plugins.onnx_backend.record import FILE, OPSET, Record, digest, version
from plugins.wan import checkpoint as checkpoints
from plugins.wan import merged
from plugins.wan.checkpoint import Checkpoint, Part
from plugins.wan.new_folder import Progress, copy_files, files_in, new_folder
from plugins.wan.tuning.switches import OFF
from plugins.wan.weights import safetensors
from plugins.wan.weights.adapters.merge import MergedAdapters
from plugins.wan.weights.placement import DTYPES, Placement, reading
from plugins.wan.weights.safetensors import StoredTensor, TensorTypes
from router import LoadFailed

LIBRARIES = ("framegate", "torch", "diffusers", "transformers", "onnx", "onnxscript")
NO_ADAPTERS = MergedAdapters(())


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
    checkpoint = checkpoints.read(source.folder)
    with new_folder(target) as draft:
        _fill(draft, source, checkpoint, dtype, progress)


def _fill(draft: Path, source: Source, checkpoint: Checkpoint, dtype: str, progress: Progress) -> None:
    model = checkpoint.folder
    write = partial(write_graph, framewise=model.expand_timesteps, image_tokens=model.image_tokens)
    loose = [path for path in source.folder.iterdir() if path.is_file() and path.name != FILE]
    others = [part for part in checkpoint.parts.values() if not part.is_transformer]
    copy_files(loose, others, source.folder, draft, progress)
    graphs: dict[str, Path] = {}  # by configuration, which the experts of a model share
    for part in checkpoint.parts.values():
        if part.is_transformer:
            _export_transformer(part, source.adapters, draft / part.name, DTYPES[dtype], write, graphs, progress)
    merged.write(draft, {adapter.name: (used.high, used.low) for adapter, used in source.adapters.adapters})
    files = files_in(draft)
    digests = {}
    for done, name in enumerate(files):
        progress("computing digests", done, len(files))
        digests[name] = digest(draft / name)
    progress("computing digests", len(files), len(files))
    libraries = {name: found for name in LIBRARIES if (found := version(name)) is not None}
    Record(source.name, source.revision, dtype, OPSET, libraries, digests).write(draft)


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
        config = config_of(part.config)
    (target / "config.json").write_text(json.dumps(dict(part.config), indent=2) + "\n")
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
    total = sum(one.length for one in positions.values())
    doing = f"{part.name}: writing its weights"
    safetensors.write(target / WEIGHTS, header, cast, lambda done: progress(doing, done, total))


def _stored(part: Part, types: TensorTypes) -> dict[str, StoredTensor]:
    assert part.weights is not None  # a transformer's
    stored = safetensors.stored_in(part.weights)
    for name, (_, shape) in types.items():
        if name not in stored:
            raise LoadFailed(f"{part.name} lacks weights that a {part.class_name} of its config.json needs: {name}")
        if stored[name].shape != shape:
            raise LoadFailed(f"{name} of {part.name} must have the shape {shape}, got {stored[name].shape}")
    return stored
