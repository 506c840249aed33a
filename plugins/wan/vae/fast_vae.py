"""A Wan VAE over the weights of diffusers' own, with the parts of the fast path that are switched on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm, patchify

from plugins.wan.tuning.autotune import Autotuner, gpu_seconds
from plugins.wan.tuning.switches import Switches
from plugins.wan.vae.onednn import OneDnnCausalConv3d, OneDnnConv2d
from plugins.wan.vae.twin import is_hooked, twin
from plugins.wan.vae.vae_gpu import replacements, take_over_silu

FRAMES = 4  # of pixels in one latent frame
MOST_LATENT_FRAMES = 4  # in a chunk
TWINS = "fast_twins"  # the attribute of a VAE that keeps them
MOST_PIXELS = 2**21  # in a chunk on a CPU: activations grow with it, the gain does not
SHARE_OF_CARD = 1 / 16  # for the activations of a chunk: of all its memory, so that a seed repeats whatever is free
LIVE = 12  # activations of full size at once: 9 in the VAE of 2.1, 12 to 15 in that of 2.2, by tensors without numbers


class OnePassNorm(WanRMS_norm):
    """A `WanRMS_norm` that reads its input twice and writes once, in fp32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype is not torch.float32 or torch.is_grad_enabled():
            return super().forward(x)
        # the least norm is that of F.normalize
        norm = x.square().sum(1, keepdim=True).sqrt_().clamp_(min=1e-12)
        normed = (x * norm.reciprocal_()).mul_(self.gamma * self.scale)
        return normed + self.bias if isinstance(self.bias, torch.Tensor) else normed


class FastVae(AutoencoderKLWan):
    """An `AutoencoderKLWan` that knows how many latent frames it may take at once.

    It keeps no state while it encodes, so that any number of encodes may run on it.
    """

    chunks: bool
    channels_last: bool

    def spans(self, count: int, pixels: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each chunk of `count` latent frames that show `pixels` each."""
        most = self._most_pixels()
        at_once = min(MOST_LATENT_FRAMES, max(1, most // (FRAMES * pixels))) if self.chunks else 1
        yield 0, 1  # alone: it shows one frame, and the others' past begins with it
        for begin in range(1, count, at_once):
            yield begin, min(begin + at_once, count)

    def _most_pixels(self) -> int:
        """Return how many pixels a chunk may show."""
        if self.device.type != "cuda":
            return MOST_PIXELS
        config = self.config
        channels = max(config.base_dim, config.decoder_base_dim or 0) / (config.patch_size or 1) ** 2
        memory = torch.cuda.get_device_properties(self.device).total_memory
        return int(memory * SHARE_OF_CARD / (LIVE * channels * self.dtype.itemsize))

    def with_layout(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=torch.channels_last_3d) if self.channels_last else x

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        if self.use_tiling:
            return super()._encode(x)
        _, _, frames, height, width = x.shape
        if self.config.patch_size is not None:
            x = patchify(x, patch_size=self.config.patch_size)
        memory = [None] * sum(isinstance(module, WanCausalConv3d) for module in self.encoder.modules())
        hidden = []
        for begin, end in self.spans(1 + (frames - 1) // FRAMES, height * width):
            first = 0 if begin == 0 else 1 + FRAMES * (begin - 1)
            chunk = self.with_layout(x[:, :, first : 1 + FRAMES * (end - 1)])
            hidden.append(self.encoder(chunk, feat_cache=memory, feat_idx=[0]))
        return self.quant_conv(torch.cat(hidden, dim=2)).contiguous()


def fast_vae(vae: AutoencoderKLWan, switches: Switches) -> AutoencoderKLWan:
    """Return a twin of `vae` with the parts that are switched on; `vae` itself where there are none, or it has hooks.

    The twin is made once for all models with the same switches, and lives as long as `vae`, which keeps it.
    """
    kernels = switches.vae_norm_kernel or switches.padding_kernel
    if not (switches.convolution or switches.norm or switches.chunks or kernels) or is_hooked(vae):
        return vae
    twins = vars(vae).setdefault(TWINS, {})
    if switches not in twins:
        twins[switches] = _twin(vae, switches)
    return twins[switches]  # type: ignore[no-any-return]


def _twin(vae: AutoencoderKLWan, switches: Switches) -> FastVae:
    quick: Any = twin(vae)
    vars(quick).pop(TWINS)
    quick.__class__ = FastVae
    quick.chunks, quick.channels_last = switches.chunks, switches.channels_last
    classes = _by_pytorch(switches) if vae.device.type == "cpu" else _by_kernels(vae, switches)
    for module in quick.modules():
        module.__class__ = classes.get(type(module), type(module))
    take_over_silu(quick)
    return quick  # type: ignore[no-any-return]


def _by_kernels(vae: AutoencoderKLWan, switches: Switches) -> dict[type, type]:
    """Return which class takes whose place on a GPU; the norm of fewer passes is there where one pass is not."""
    with torch.no_grad():
        found = replacements(vae, switches, Autotuner(gpu_seconds))
    return _by_pytorch(replace(switches, convolution=False)) | found


def _by_pytorch(switches: Switches) -> dict[type, type]:
    """Return which class takes whose place where no kernel of ours runs."""
    found: dict[type, type] = {}
    if switches.convolution:
        found |= {WanCausalConv3d: OneDnnCausalConv3d, torch.nn.Conv2d: OneDnnConv2d}
    if switches.norm:
        found |= {WanRMS_norm: OnePassNorm}
    return found
