"""The VAE's norms and paddings on a GPU, each in one pass over memory."""

from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm
from torch.nn import functional

from plugins.wan.tuning.autotune import APART, FUSED, Autotuner, Candidates
from plugins.wan.tuning.switches import Switches

SAMPLE = (4, 64, 64)  # frames, height and width of the measured input
PAST = 2  # earlier frames that a convolution reads


class FusedNorm(WanRMS_norm):
    """A `WanRMS_norm` by one kernel, followed by SiLU in the same kernel if `silu`."""

    silu: bool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if _runs_on_gpu(x) and not isinstance(self.bias, torch.Tensor):
            return _kernels().norm(x, self.gamma, self.scale, self.silu)
        normed = super().forward(x)
        return functional.silu(normed) if self.silu else normed


class PaddedCausalConv3d(WanCausalConv3d):
    """A `WanCausalConv3d` whose earlier frames and zero padding are one kernel."""

    def forward(self, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
        if not _runs_on_gpu(x) or not any(self._padding):
            return super().forward(x, cache_x)
        width, _, height, _, count, _ = self._padding
        past = cache_x if count else None
        return self._conv_forward(_kernels().pad(x, past, count, height, width), self.weight, self.bias)


def replacements(vae: AutoencoderKLWan, switches: Switches, tuner: Autotuner) -> dict[type, type]:
    """Return the classes to replace in a VAE on a GPU, by agreeing kernels."""
    found: dict[type, type] = {}
    what = f"of the VAE in {vae.dtype}"
    if switches.vae_norm_kernel and tuner.agrees(f"norm {what}", lambda: _norms(vae)):
        found[WanRMS_norm] = FusedNorm
    if switches.padding_kernel and tuner.agrees(f"padding {what}", lambda: _paddings(vae)):
        found[WanCausalConv3d] = PaddedCausalConv3d
    return found


def fuse_silu(vae: torch.nn.Module) -> None:
    """Move the SiLU after each `FusedNorm` of `vae` into that norm."""
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
    return vae.encoder if vae.decoder is None else vae.decoder


def _noise(vae: AutoencoderKLWan, *shape: int) -> torch.Tensor:
    made = torch.randn(1, *shape, device=vae.device, dtype=vae.dtype)
    return made.contiguous(memory_format=torch.channels_last_3d)


def _kernels() -> Any:
    # not every PyTorch brings Triton: a failed import rules this candidate out
    from plugins.wan.vae import vae_kernels

    return vae_kernels


def _runs_on_gpu(x: torch.Tensor) -> bool:
    return x.device.type == "cuda" and not torch.is_grad_enabled()
