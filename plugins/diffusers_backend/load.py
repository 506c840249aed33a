"""Loading a model that diffusers runs."""

from __future__ import annotations

from plugins.diffusers_backend.dit.paths import Paths
from plugins.diffusers_backend.options import Options
from plugins.diffusers_backend.placement import DiffusersPlacement
from plugins.wan import load as wan
from plugins.wan.load import Loaded
from router import ModelSpec, Pool, Report


def load(model: ModelSpec, device: str, pool: Pool, report: Report) -> Loaded:
    options = Options.of(model)
    placement = DiffusersPlacement.of(options, device)
    return wan.load(
        model,
        placement,
        pool,
        report,
        options.prompt_cache_bytes,
        lambda parts: Paths(parts, placement.fast, pool, placement.attention),
    )
