"""Loading a model that diffusers runs: its parts, and our forward passes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from plugins.diffusers_backend import group_offload
from plugins.diffusers_backend.attention_backend import attention_for, set_attention_backend
from plugins.diffusers_backend.dit.paths import Paths
from plugins.diffusers_backend.fp8_products import require_fp8_products
from plugins.diffusers_backend.options import Options
from plugins.wan import load as wan
from plugins.wan.checkpoint import Part
from plugins.wan.load import Loaded
from plugins.wan.weights import offload_groups
from plugins.wan.weights.adapters.merge import MergedAdapters
from plugins.wan.weights.device_format import FP8
from plugins.wan.weights.placement import Arrived, Merging, Placement, dtype_for
from router import ModelSpec, Offloader, Pool, Report


@dataclass(frozen=True)
class DiffusersPlacement(Placement):
    """A placement that names an attention backend; `group_offload` keeps idle weights on the host."""

    attention: str = "native"
    group_offload: bool = False

    @classmethod
    def of(cls, options: Options, device: str, merging: Merging | None = None) -> DiffusersPlacement:
        dtype, fast = dtype_for(options.dtype, device), options.fast
        if options.attention != "auto":
            fast = replace(fast, measured_attention=False)  # a backend that was chosen needs no measurement
        return cls(
            device,
            dtype,
            fast,
            dtype_for(options.decoder_dtype, device),
            merging,
            options.weights,
            options.matmul == FP8,
            attention_for(options.attention, device, dtype),
            options.group_offload,
        )

    def key(self, part: Part, pool: Pool) -> Hashable:
        key = super().key(part, pool)
        if part.is_transformer:
            key = (key, self.attention)
        return (key, "group_offload") if self._is_offloaded(part) else key

    def device_of(self, part: Part) -> str:
        return "cpu" if self._is_offloaded(part) else self.device

    def device_bytes(self, part: Part) -> int:
        if not self._is_offloaded(part):
            return super().device_bytes(part)
        return offload_groups.device_bytes(part.name, self.tensor_sizes(part))

    def offloader(self, part: Part) -> Offloader | None:
        return None if self._is_offloaded(part) else super().offloader(part)

    def read(self, part: Part, arrived: Arrived) -> Any:
        loaded = super().read(part, arrived)
        if part.is_transformer:
            set_attention_backend(loaded, self.attention, self.device)
            if self.fp8_products:
                require_fp8_products(loaded)
        if self._is_offloaded(part):
            group_offload.apply(loaded, part, self.device, self.device_bytes(part))
        return loaded

    def _is_offloaded(self, part: Part) -> bool:
        return self.group_offload and offload_groups.suits(part.name)


def load(model: ModelSpec, device: str, pool: Pool, report: Report) -> Loaded:
    options = Options.of(model)
    merged = tuple(each for each in model.adapters if each.merge)
    merging = MergedAdapters.of(merged) if merged else None
    placement = DiffusersPlacement.of(options, device, merging)
    return wan.load(
        model,
        placement,
        pool,
        report,
        options.prompt_cache_bytes,
        lambda parts: Paths(parts, placement.fast, pool, placement.attention),
    )
