"""Loading an exported folder: graphs for the transformers, torch for all other parts."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from plugins.onnx_backend import graph, record
from plugins.onnx_backend.graph import FILE, WEIGHTS
from plugins.onnx_backend.options import Options
from plugins.onnx_backend.session import provider_for
from plugins.onnx_backend.transformer import OnnxTransformer
from plugins.wan import load as wan
from plugins.wan.checkpoint import Part
from plugins.wan.load import Loaded
from plugins.wan.weights import transfer
from plugins.wan.weights.forms import Form
from plugins.wan.weights.placement import DTYPES, Arrived, Placement, dtype_for, reading
from plugins.wan.weights.safetensors import stored_in
from registry.folders import FolderError, weights_in
from router import LoadFailed, ModelSpec, Offloader, Pool, Report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxPlacement(Placement):
    """A placement with the execution provider of the transformers."""

    provider: str = "cpu"
    digests: Mapping[str, str] = field(default_factory=dict)  # of the export's files

    def key(self, part: Part, pool: Pool) -> Hashable:
        key = super().key(part, pool)
        return ("onnxruntime", self.provider, key) if part.is_transformer else key

    def offloader(self, part: Part) -> Offloader | None:
        # a session knows its weights by their addresses: on a GPU they cannot move; on a CPU they never do
        return super().offloader(part) if self.device == "cpu" or not part.is_transformer else None

    def read(self, part: Part, arrived: Arrived) -> Any:
        if not part.is_transformer:
            return super().read(part, arrived)
        if (name := f"{part.name}/{FILE}") not in self.digests:
            raise LoadFailed(f"{record.FILE} must list {name}, it does not: export the model again")
        with reading(part):
            engines = self._engines(part)
            return read_transformer(part.folder, self.dtype, self.provider, self.device, engines, arrived)

    def _engines(self, part: Part) -> Path | None:
        if self.provider != "tensorrt":
            return None
        digest = self.digests[f"{part.name}/{WEIGHTS}"]
        folder = Path.home() / ".cache" / "framegate" / "tensorrt" / digest[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def load(model: ModelSpec, device: str, pool: Pool, report: Report) -> Loaded:
    """Return `model` on `device`; raise `LoadFailed` with what its folder, or this machine, lacks."""
    options = Options.of(model)
    if model.folder is None:
        raise LoadFailed(f"{model.name} needs a folder that 'framegate export' made, its source gave none")
    export = record.read(model.folder)
    provider = provider_for(options.provider, device)
    if provider == "cpu" and export.dtype == "bf16":
        raise LoadFailed(
            f"{model.name} was exported in bf16, which ONNX Runtime runs on GPUs only; "
            "for a CPU, export it with --dtype fp32"
        )
    export.verify(model.folder, pool.digest)
    if newer := export.newer(record.version):
        log.warning("%s was exported by newer libraries than are here: %s", model.folder, ", ".join(newer))
    placement = OnnxPlacement(
        device,
        DTYPES[export.dtype],
        options.fast,
        dtype_for(options.decoder_dtype, device),
        provider=provider,
        digests={name: file.sha256 for name, file in export.files.items()},
    )
    return wan.load(model, placement, pool, report, options.prompt_cache_bytes)


def read_transformer(
    folder: Path,
    dtype: torch.dtype,
    provider: str,
    device: str,
    engines: Path | None = None,
    arrived: Arrived = lambda size: None,
) -> OnnxTransformer:
    """Return the graph in `folder` on `device`; raise `LoadFailed` for a bad graph."""
    try:
        weights = weights_in(folder, folder.name)
    except FolderError as error:
        raise LoadFailed(error.reason) from error
    named = graph.weights_of(folder, stored_in(weights))
    forms = {name: Form(each.dtype) for name, each in named.items()}
    return OnnxTransformer(folder, transfer.read(named, forms, device, arrived), dtype, provider, device, engines)
