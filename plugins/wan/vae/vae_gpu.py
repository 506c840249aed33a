"""The VAE's norms and paddings on a GPU, each in one pass over memory; elsewhere and with gradients diffusers' own."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm
from torch.nn import functional

from plugins.diffusers_backend.tuning.candidates import Candidates
from plugins.wan.tuning.autotune import APART, FUSED, Autotuner
from plugins.wan.tuning.switches import Switches

SAMPLE = (4, 64, 64)  # frames, height and width of what is measured
PAST = 2  # frames that a convolution sees before its own


class FusedNorm(WanRMS_norm):
    """A `WanRMS_norm` by one kernel, with the SiLU that follows it where `silu` says that one does."""

    silu: bool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if _on_card(x) and not isinstance(self.bias, torch.Tensor):
            return _kernels().norm(x, self.gamma, self.scale, self.silu)
        normed = super().forward(x)
        return functional.silu(normed) if self.silu else normed


class PaddedCausalConv3d(WanCausalConv3d):
    """A `WanCausalConv3d` whose frames before, and zeros around, one kernel puts in place."""

    def forward(self, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
        if not _on_card(x) or not any(self._padding):
            return super().forward(x, cache_x)
        width, _, height, _, count, _ = self._padding
        past = cache_x if count else None
        return self._conv_forward(_kernels().pad(x, past, count, height, width), self.weight, self.bias)


def replacements(vae: AutoencoderKLWan, switches: Switches, table: Autotuner) -> dict[type, type]:
    """Return which class takes whose place in a VAE on a GPU: where ours gives the same."""
    found: dict[type, type] = {}
    what = f"of the VAE in {vae.dtype}"
    if switches.vae_norm_kernel and table.agrees(f"norm {what}", lambda: _norms(vae)):
        found[WanRMS_norm] = FusedNorm
    if switches.padding_kernel and table.agrees(f"padding {what}", lambda: _paddings(vae)):
        found[WanCausalConv3d] = PaddedCausalConv3d
    return found


def take_over_silu(vae: torch.nn.Module) -> None:
    """Let the `FusedNorm`s of `vae` do the SiLU that the module around them does after each."""
    for module in vae.modules():
        if isinstance(module, FusedNorm):
            module.silu = False
    for module in vae.modules():
        norms = [child for child in module.children() if isinstance(child, FusedNorm)]
        if norms and isinstance(getattr(module, "nonlinearity", None), torch.nn.SiLU):
            module.nonlinearity = torch.nn.Identity()
            for norm in norms:
                norm.silu = True


def _norms(vae: AutoencoderKLWan) -> Candidates:
    norm = _half(vae).norm_out
    x = _noise(vae, norm.gamma.shape[0], *SAMPLE)
    return {
        APART: lambda: functional.silu(norm(x)),
        FUSED: lambda: _kernels().norm(x, norm.gamma, norm.scale, True),
    }


def _paddings(vae: AutoencoderKLWan) -> Candidates:
    channels = _half(vae).norm_out.gamma.shape[0]
    x, past = _noise(vae, channels, *SAMPLE), _noise(vae, channels, PAST, *SAMPLE[1:])
    return {
        APART: lambda: functional.pad(torch.cat([past, x], dim=2), (1, 1, 1, 1)),
        FUSED: lambda: _kernels().pad(x, past, PAST, 1, 1),
    }


def _half(vae: AutoencoderKLWan) -> Any:
    """Return a half that `vae` has: what encodes images is loaded without its decoder."""
    return vae.encoder if vae.decoder is None else vae.decoder


def _noise(vae: AutoencoderKLWan, *shape: int) -> torch.Tensor:
    made = torch.randn(1, *shape, device=vae.device, dtype=vae.dtype)
    return made.contiguous(memory_format=torch.channels_last_3d)


def _kernels() -> Any:
    """Return the module that needs Triton: not every PyTorch brings it, and then this fails like any other way."""
    from plugins.wan.vae import vae_kernels

    return vae_kernels


def _on_card(x: torch.Tensor) -> bool:
    return x.device.type == "cuda" and not torch.is_grad_enabled()
