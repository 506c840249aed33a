"""From latents to pixels, a few latent frames at a time, so that the encoder works while the next ones decode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify

from plugins.diffusers_backend.fast.vae import FRAMES, FastVae
from router import Pixels


@torch.no_grad()
def decode_chunks(vae: AutoencoderKLWan, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield what `vae.decode(latents)` returns, bit for bit, as it gets ready: 1 frame, then 4 at a time, in -1...1.

    A `FastVae` may take several fours at a time, with the same numbers to rounding.
    The convolutions' memory of the frames before is ours, not the list that diffusers keeps on the VAE:
    any number of decodes, and encodes, may run on one VAE, and one that is closed half way leaves nothing behind.
    """
    memory = [None] * sum(isinstance(module, WanCausalConv3d) for module in vae.decoder.modules())
    hidden = vae.post_quant_conv(latents)
    if isinstance(vae, FastVae):
        hidden = vae.laid_out(hidden)
    for begin, end in _spans(vae, hidden):
        frames = vae.decoder(hidden[:, :, begin:end], feat_cache=memory, feat_idx=[0], first_chunk=begin == 0)
        if vae.config.patch_size is not None:
            frames = unpatchify(frames, patch_size=vae.config.patch_size)
        yield frames.clamp(-1.0, 1.0)


def _spans(vae: AutoencoderKLWan, latents: torch.Tensor) -> Iterable[tuple[int, int]]:
    """Return begin and end of the latent frames that go through the decoder together."""
    count, height, width = latents.shape[2:]
    if isinstance(vae, FastVae):
        return vae.spans(count, height * width * vae.config.scale_factor_spatial**2)
    return ((index, index + 1) for index in range(count))


def pixels(vae: AutoencoderKLWan, latents: torch.Tensor) -> Iterator[Pixels]:
    """Yield the frames of a pipeline's latents as arrays of uint8, `(n, height, width, 3)`: 1 frame, then 4 at a time.

    A chunk is handed out once the next one is queued on the device, which then works while the caller encodes.
    """
    ready: Callable[[], Pixels] | None = None
    for chunk in decode_chunks(vae, denormalised(vae, latents)):
        previous, ready = ready, _to_host(_to_uint8(chunk))
        if previous is not None:
            yield from _in_fours(previous())
    if ready is not None:
        yield from _in_fours(ready())


def _in_fours(frames: Pixels) -> Iterator[Pixels]:
    for begin in range(0, len(frames), FRAMES):
        yield frames[begin : begin + FRAMES]


def denormalised(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Return latents in the VAE's own scale and number format, with the operations of the pipelines in their order."""
    weight = vae.post_quant_conv.weight
    latents = latents.to(weight.device, torch.float32)
    mean, std = (
        torch.tensor(values).view(1, vae.config.z_dim, 1, 1, 1).to(latents)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (latents / (1.0 / std) + mean).to(weight.dtype)


def _to_uint8(frames: torch.Tensor) -> torch.Tensor:
    """Return `(1, 3, n, height, width)` in -1...1 as `(n, height, width, 3)` in 0...255, still on the device."""
    scaled = (frames[0].float() * 0.5 + 0.5).clamp(0, 1).mul(255).round()
    return scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous()


def _to_host(frames: torch.Tensor) -> Callable[[], Pixels]:
    """Start the copy of `frames` to the host; the function returned waits for it alone, not for later work."""
    if frames.device.type != "cuda":
        return frames.cpu().numpy
    host = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
    host.copy_(frames, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(frames.device))

    def wait() -> Pixels:
        copied.synchronize()
        return host.numpy()

    return wait
