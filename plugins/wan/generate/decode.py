"""From latents to pixels by chunks of frames, so that encoding overlaps decoding."""

from collections.abc import Callable, Iterable, Iterator

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify

from plugins.wan.generate.finite import peak
from plugins.wan.vae.fast_vae import FRAMES, FastVae
from router import Pixels

Copied = Callable[[], tuple[Pixels, float]]  # waits for a chunk of frames and the largest magnitude in it


@torch.no_grad()
def decode_chunks(vae: AutoencoderKLWan, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the frames of `vae.decode(latents)` bit for bit: 1, then 4 at a time.

    `latents` are `(1, z, t, h, w)`, chunks `(1, 3, n, height, width)`. A `FastVae` may take several fours at a time,
    with the same numbers to rounding.
    """
    # A memory of earlier frames of our own, not the list that diffusers keeps on the VAE: any number of decodes and
    # encodes may run on one VAE, and one that is closed half way leaves nothing behind.
    memory = [None] * sum(isinstance(module, WanCausalConv3d) for module in vae.decoder.modules())
    hidden = vae.post_quant_conv(latents)
    if isinstance(vae, FastVae):
        hidden = vae.with_layout(hidden)
    for begin, end in _spans(vae, hidden):
        frames = vae.decoder(hidden[:, :, begin:end], feat_cache=memory, feat_idx=[0], first_chunk=begin == 0)
        if vae.config.patch_size is not None:
            frames = unpatchify(frames, patch_size=vae.config.patch_size)
        yield frames


def _spans(vae: AutoencoderKLWan, latents: torch.Tensor) -> Iterable[tuple[int, int]]:
    count, height, width = latents.shape[2:]
    if isinstance(vae, FastVae):
        return vae.spans(count, height * width * vae.config.scale_factor_spatial**2)
    return ((index, index + 1) for index in range(count))


def pixels(vae: AutoencoderKLWan, latents: torch.Tensor, require: Callable[[float], None]) -> Iterator[Pixels]:
    """Yield the frames of latents as uint8 `(n, height, width, 3)`: 1, then 4 at a time.

    `require` gets the largest magnitude of each chunk first, and may raise.
    """
    # A chunk leaves once the next one is queued on the device, which then works while the caller encodes. `require`
    # comes first because the cast to uint8 would show infinity and NaN as colours.
    ready: Copied | None = None
    for chunk in decode_chunks(vae, denormalize(vae, latents)):
        previous, ready = ready, _to_host(_to_uint8(chunk), peak(chunk))
        if previous is not None:
            yield from _in_fours(previous(), require)
    if ready is not None:
        yield from _in_fours(ready(), require)


def _in_fours(copied: tuple[Pixels, float], require: Callable[[float], None]) -> Iterator[Pixels]:
    frames, magnitude = copied
    require(magnitude)
    for begin in range(0, len(frames), FRAMES):
        yield frames[begin : begin + FRAMES]


def denormalize(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Return latents in the VAE's scale and number format."""
    # by the pipelines' operations in their order, for the same bits
    weight = vae.post_quant_conv.weight
    latents = latents.to(weight.device, torch.float32)
    mean, std = (
        torch.tensor(values).view(1, vae.config.z_dim, 1, 1, 1).to(latents)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (latents / (1.0 / std) + mean).to(weight.dtype)


def _to_uint8(frames: torch.Tensor) -> torch.Tensor:
    """Return frames `(1, 3, n, height, width)` in -1...1 as uint8 `(n, height, width, 3)`."""
    scaled = (frames[0].float() * 0.5 + 0.5).clamp(0, 1).mul(255).round()
    return scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous()


def _to_host(frames: torch.Tensor, magnitude: torch.Tensor) -> Copied:
    """Start a copy to the host; the returned function waits for this copy alone."""
    if frames.device.type != "cuda":
        return lambda: (frames.cpu().numpy(), float(magnitude))
    pinned = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in (frames, magnitude)]
    for host, each in zip(pinned, (frames, magnitude), strict=True):
        host.copy_(each, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(frames.device))

    def wait() -> tuple[Pixels, float]:
        copied.synchronize()
        return pinned[0].numpy(), float(pinned[1])

    return wait
