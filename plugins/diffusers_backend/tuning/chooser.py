"""The kernels of a pass: chosen by the options, or by measurements at its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.dit.attention import backend_of, backends_for
from plugins.diffusers_backend.dit.kernel_config import KernelConfig
from plugins.diffusers_backend.tuning import candidates
from plugins.diffusers_backend.tuning.candidates import Workload
from plugins.wan.tuning.autotune import FUSED, Autotuner, Candidates
from plugins.wan.tuning.switches import Switches


@dataclass(frozen=True)
class Chooser:
    """Choose kernels by the option `attention`, if it is one of ours, and by the `tuner`, if any."""

    attention: str | None = None
    tuner: Autotuner | None = None

    def config_for(self, model: WanTransformer3DModel, batch: int, tokens: int, switches: Switches) -> KernelConfig:
        """Return the kernels for `batch` clips of `tokens` tokens through `model`."""
        config = model.config
        plain = KernelConfig(config.num_attention_heads, config.eps, self.attention or backend_of(model))
        if self.tuner is None:
            return plain
        tuner, workload = self.tuner, Workload.of(model, batch, tokens)

        attention = plain.attention
        if switches.measured_attention:
            names = backends_for(attention, workload.capability)
            attention = tuner.fastest(f"attention {workload}", lambda: candidates.attention(names, model, workload))
        fused = False
        if switches.gelu_epilogue and workload.capability is not None:  # a CPU's fused one is another GELU
            fused = tuner.fastest(f"GELU {workload}", lambda: candidates.gelu_after_product(model, workload)) == FUSED

        def agrees(part: str, make: Callable[[WanTransformer3DModel, Workload], Candidates]) -> bool:
            return tuner.agrees(f"{part} {workload}", lambda: make(model, workload))

        return plain._replace(
            attention=attention,
            fused_gelu=fused,
            rope_kernel=switches.rope_kernel and agrees("norm and rotation", candidates.norm_and_rotation),
            norm_kernel=switches.norm_kernel and agrees("residual and norm", candidates.residual_and_norm),
        )
