"""A Wan VAE over the weights of diffusers' own, with switchable fast parts."""

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
from plugins.wan.vae.vae_gpu import fuse_silu, replacements

FRAMES = 4  # of pixels in one latent frame
MAX_LATENT_FRAMES = 4  # in a chunk
TWINS = "fast_twins"  # the attribute of a VAE that holds its twins
MAX_CPU_PIXELS = 2**21  # in a chunk: activations grow with it, the gain does not
GPU_SHARE = 1 / 16  # for the activations of a chunk: of all memory, not of what is free, so that a seed repeats
LIVE_ACTIVATIONS = 12  # of full size at once: 9 in the VAE of 2.1, 12 to 15 in that of 2.2, by tensors without numbers


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
    """An `AutoencoderKLWan` that takes chunks of several latent frames.

    It keeps no state while it encodes, so that any number of encodes may run on it.
    """

    chunks: bool
    channels_last: bool

    def spans(self, count: int, pixels: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each chunk of `count` latent frames of `pixels` pixels."""
        size = min(MAX_LATENT_FRAMES, max(1, self._max_pixels() // (FRAMES * pixels))) if self.chunks else 1
        yield 0, 1  # alone: it shows one frame, and the others' past begins with it
        for begin in range(1, count, size):
            yield begin, min(begin + size, count)

    def _max_pixels(self) -> int:
        if self.device.type != "cuda":
            return MAX_CPU_PIXELS
        config = self.config
        channels = max(config.base_dim, config.decoder_base_dim or 0) / (config.patch_size or 1) ** 2
        memory = torch.cuda.get_device_properties(self.device).total_memory
        return int(memory * GPU_SHARE / (LIVE_ACTIVATIONS * channels * self.dtype.itemsize))

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
    """Return a twin of `vae` with fast parts; `vae` itself if hooked."""
    # `vae` holds its twins, one for all models with the same switches, for as long as it lives
    kernels = switches.vae_norm_kernel or switches.padding_kernel
    if not (switches.convolution or switches.norm or switches.chunks or kernels) or is_hooked(vae):
        return vae
    twins: dict[Switches, FastVae] = vars(vae).setdefault(TWINS, {})
    if switches not in twins:
        twins[switches] = _twin(vae, switches)
    return twins[switches]


def _twin(vae: AutoencoderKLWan, switches: Switches) -> FastVae:
    fast: Any = twin(vae)
    vars(fast).pop(TWINS)
    fast.__class__ = FastVae
    fast.chunks, fast.channels_last = switches.chunks, switches.channels_last
    classes = _cpu_classes(switches) if vae.device.type == "cpu" else _gpu_classes(vae, switches)
    for module in fast.modules():
        module.__class__ = classes.get(type(module), type(module))
    fuse_silu(fast)
    return fast


def _gpu_classes(vae: AutoencoderKLWan, switches: Switches) -> dict[type, type]:
    """Return the replacement classes on a GPU; `OnePassNorm` where no kernel of ours runs."""
    with torch.no_grad():
        found = replacements(vae, switches, Autotuner(gpu_seconds))
    return _cpu_classes(replace(switches, convolution=False)) | found


def _cpu_classes(switches: Switches) -> dict[type, type]:
    found: dict[type, type] = {}
    if switches.convolution:
        found |= {WanCausalConv3d: OneDnnCausalConv3d, torch.nn.Conv2d: OneDnnConv2d}
    if switches.norm:
        found |= {WanRMS_norm: OnePassNorm}
    return found
