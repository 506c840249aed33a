"""By which kernels a pass runs: what is said in the options, or what was measured for its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.dit.attention import backend_of, backends_for
from plugins.diffusers_backend.dit.kernel_config import KernelConfig
from plugins.diffusers_backend.tuning import candidates
from plugins.diffusers_backend.tuning.candidates import Candidates, Workload
from plugins.wan.tuning.autotune import FUSED, Autotuner
from plugins.wan.tuning.switches import Switches


@dataclass(frozen=True)
class Chooser:
    """Who chooses: the options, where they name an `attention` of ours, and the `table`, where anything is measured."""

    attention: str | None = None
    table: Autotuner | None = None

    def config_for(self, model: WanTransformer3DModel, batch: int, tokens: int, switches: Switches) -> KernelConfig:
        """Return by what the blocks of `model` run for `batch` clips of so many `tokens`."""
        config = model.config
        plain = KernelConfig(config.num_attention_heads, config.eps, self.attention or backend_of(model))
        if self.table is None:
            return plain
        table, case = self.table, Workload.of(model, batch, tokens)

        chosen = plain.attention
        if switches.measured_attention:
            names = backends_for(chosen, case.capability)
            chosen = table.fastest(f"attention {case}", lambda: candidates.attention(names, model, case))
        fused = False
        if switches.gelu_epilogue and case.capability is not None:  # a CPU's fused one is another GELU
            fused = table.fastest(f"GELU {case}", lambda: candidates.gelu_after_product(model, case)) == FUSED

        def agrees(part: str, ways: Callable[[WanTransformer3DModel, Workload], Candidates]) -> bool:
            return table.agrees(f"{part} {case}", lambda: ways(model, case))

        return plain._replace(
            attention=chosen,
            fused_gelu=fused,
            rope_kernel=switches.rope_kernel and agrees("norm and rotation", candidates.norm_and_rotation),
            norm_kernel=switches.norm_kernel and agrees("residual and norm", candidates.residual_and_norm),
        )
