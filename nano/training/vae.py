"""Train the VAE on rendered frames, then on whole clips for its causal memory."""

import types
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    AutoencoderKLWan,
    WanCausalConv3d,
    WanRMS_norm,
    patchify,
    unpatchify,
)
from numpy.typing import NDArray

from nano.scene import FRAMES, Scene, draw_scene, draw_wild_scene, render, subjects
from nano.training.loop import Draw, Loss, Plan, autocast

PLANS = (
    Plan("vae-images", steps=400, rate=3e-3, memory=0.98),
    Plan("vae-clips", steps=1600, rate=2e-3, memory=0.99),
    Plan("vae-edges", steps=600, rate=1.2e-3, memory=0.99),
)
DECODER = Plan("vae-decoder", steps=900, rate=1e-3, memory=0.99)  # the decoder alone, on noisy latents
BLUR = 0.15  # the largest standard deviation of that noise, relative to the latents' own
WILD = 0.35  # the share of scenes in any colours, so that a user's own image survives
FOREGROUND = 4.0  # the additional weight of the shape: the background is easy, and most of the frame
EDGE = 8.0  # the additional weight of the outline in the last stage: corners tell the shapes apart
KL = 1e-4  # per element: smooth latents, for the transformers' sake


def losses(vae: AutoencoderKLWan, device: torch.device) -> dict[str, Loss]:
    fast_norms(vae)

    def images(draw: Draw) -> dict[str, torch.Tensor]:
        return _loss(vae, *_batch(draw, count=48, frames=1), draw, device)

    def clips(draw: Draw, edge: float = 0.0) -> dict[str, torch.Tensor]:
        return _loss(vae, *_whole_clips(draw, edge), draw, device)

    return {"vae-images": images, "vae-clips": clips, "vae-edges": partial(clips, edge=EDGE)}


def decoder_loss(vae: AutoencoderKLWan, device: torch.device) -> Loss:
    """Return the loss of the decoder alone on noisy latents, the encoder frozen."""
    fast_norms(vae)
    vae.requires_grad_(False)
    # the noise stands for the errors of the transformers' latents
    for part in (vae.post_quant_conv, vae.decoder):
        part.requires_grad_(True)

    def step(draw: Draw) -> dict[str, torch.Tensor]:
        clips, weight = (tensor.to(device) for tensor in _whole_clips(draw, EDGE))
        clips = clips.to(memory_format=torch.channels_last_3d)
        with autocast(device):
            with torch.no_grad():
                mean = encode(vae, clips).float().chunk(2, dim=1)[0]
                off = BLUR * torch.rand(len(clips), 1, 1, 1, 1, generator=draw.torch)
                noise = (off * torch.randn(mean.shape, generator=draw.torch)).to(device)
                near = mean + noise * mean.std(dim=(0, 2, 3, 4), keepdim=True)
            output = decode(vae, near).float()
        error = output - clips
        return {"loss": _weighted(error, weight), "psnr": _psnr(error)}

    return step


def encode(vae: AutoencoderKLWan, clips: torch.Tensor) -> torch.Tensor:
    """Return the mean and log variance of the latents of clips.

    Clips are `(b, 3, 1 + n, h, w)`, the result is `(b, 2z, 1 + n / 4, h / 8, w / 8)`.
    `vae.encode` computes the same four frames at a time; this takes two passes, the first frame and the rest.
    """
    memory = _memory(vae.encoder)
    frames = patchify(clips, vae.config["patch_size"] or 1)
    chunks = [vae.encoder(part, feat_cache=memory, feat_idx=[0]) for part in _first_and_rest(frames)]
    moments: torch.Tensor = vae.quant_conv(torch.cat(chunks, dim=2))
    return moments


def decode(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Return the clips of latents in two passes, as `vae.decode` without its clamp."""
    memory = _memory(vae.decoder)
    first, *rest = _first_and_rest(vae.post_quant_conv(latents))
    chunks = [vae.decoder(first, feat_cache=memory, feat_idx=[0], first_chunk=True)]
    chunks += [vae.decoder(part, feat_cache=memory, feat_idx=[0]) for part in rest]
    clips: torch.Tensor = unpatchify(torch.cat(chunks, dim=2), vae.config["patch_size"] or 1)
    return clips


def to_floats(clips: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Return clips as one tensor in -1...1.

    A clip is `(n, h, w, 3)` bytes, the tensor `(b, 3, n, h, w)`.
    """
    batch = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3)
    return batch.to(torch.float32).div_(127.5).sub_(1.0)


def fast_norms(vae: AutoencoderKLWan) -> None:
    """Make the norms of a VAE keep less for their gradients."""
    # a step on a CPU is 1.8 times faster
    for module in vae.modules():
        if isinstance(module, WanRMS_norm):
            norm: Any = module
            norm.forward = types.MethodType(_fast_norm, module)


def channels_last(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Lay out the kernels for the bf16 convolutions of a CPU."""
    for parameter in vae.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        elif parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return vae


def _loss(
    vae: AutoencoderKLWan, clips: torch.Tensor, weight: torch.Tensor, draw: Draw, device: torch.device
) -> dict[str, torch.Tensor]:
    clips = clips.to(device).to(memory_format=torch.channels_last_3d)
    weight = weight.to(device)
    with autocast(device):
        mean, spread = encode(vae, clips).float().chunk(2, dim=1)
        spread = spread.clamp(-20.0, 10.0)
        noise = torch.randn(mean.shape, generator=draw.torch).to(device)
        output = decode(vae, mean + noise * torch.exp(0.5 * spread)).float()
    error = output - clips
    weighted = _weighted(error, weight)
    divergence = 0.5 * (mean.square() + spread.exp() - 1.0 - spread).mean()
    return {"loss": weighted + KL * divergence, "error": weighted, "kl": divergence, "psnr": _psnr(error)}


@torch.no_grad()
def _psnr(error: torch.Tensor) -> torch.Tensor:
    squared = error.clamp(-2, 2).square().mean(dim=(1, 2, 3, 4))
    return (10 * torch.log10(4.0 / squared)).mean()


def _weighted(error: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (weight * (error.abs() + error.square())).mean() / weight.mean()


def _whole_clips(draw: Draw, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whole clips, mostly of the usual size, and the weight of each pixel."""
    count, side = (3, 96) if draw.step % 8 == 7 else (8, 64)
    return _batch(draw, count, FRAMES, side, edge)


def _batch(draw: Draw, count: int, frames: int, side: int = 64, edge: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return clips and the weight of each pixel, `(b, 1, n, h, w)`."""
    clips, weights = [], []
    for _ in range(count):
        scene = _scene(draw.rng)
        if frames == 1:  # any moment of the clip
            moment = draw.rng.uniform(0, 16)
            start = (scene.start[0] + moment * scene.step[0], scene.start[1] + moment * scene.step[1])
            scene = replace(scene, start=start)
        clip = render(scene, side, side, frames)
        changed = np.abs(clip.astype(np.int16) - np.array(scene.background)).max(axis=-1) > 8
        clips.append(clip)
        weights.append(1.0 + FOREGROUND * changed + edge * np.stack([_outline(frame) for frame in changed]))
    return to_floats(clips), torch.from_numpy(np.stack(weights)[:, None]).float()


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    band = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    return np.asarray(band, np.uint8)


def _scene(rng: np.random.Generator) -> Scene:
    if rng.random() < WILD:
        return draw_wild_scene(rng)
    return draw_scene(_KNOWN[rng.integers(len(_KNOWN))], rng)


_KNOWN = subjects(held_out=False)


def _memory(half: torch.nn.Module) -> list[object]:
    return [None] * sum(isinstance(module, WanCausalConv3d) for module in half.modules())


def _first_and_rest(frames: torch.Tensor) -> list[torch.Tensor]:
    return [frames[:, :, :1], frames[:, :, 1:]] if frames.shape[2] > 1 else [frames]


def _fast_norm(norm: Any, x: torch.Tensor) -> Any:
    return _APPLY(x, norm.gamma)


class _Norm(torch.autograd.Function):
    """`WanRMS_norm` with a gradient that keeps two tensors."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
        scale: torch.Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True) * x.shape[1] ** -0.5
        scale = scale.clamp_min(1e-6).reciprocal().to(x.dtype)
        unit = x * scale
        ctx.save_for_backward(unit, scale, gamma)
        return unit * gamma.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        unit, scale, gamma = ctx.saved_tensors
        others = tuple(axis for axis in range(gradient.ndim) if axis != 1)
        of_gamma = (gradient * unit).sum(dim=others).view_as(gamma).to(gamma.dtype)
        gradient = gradient * gamma.to(gradient.dtype)
        return (gradient - unit * (gradient * unit).mean(dim=1, keepdim=True)) * scale, of_gamma


_APPLY: Any = _Norm.apply  # has no types
