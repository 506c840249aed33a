"""Decoding and encoding of a clip: diffusers' own VAE, ours, and ours with one part turned off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from diffusers import AutoencoderKLWan

from bench.card import models
from bench.card.clock import Clock
from bench.card.profile import profiled
from bench.card.shapes import Vae
from bench.table import Row
from plugins.diffusers_backend.decode import decode_chunks
from plugins.diffusers_backend.fast.switches import Switches
from plugins.diffusers_backend.fast.vae import fast_vae

PARTS = ("norm", "vae_norm_kernel", "padding_kernel", "channels_last", "chunks")  # convolution is for CPUs
MOST_STOCK = 1 / 1.8  # of diffusers' time to decode
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FRAMES = 4  # of pixels in a latent frame


@torch.no_grad()
def stages(name: str, vae: Vae, clock: Clock) -> Iterator[Row]:
    """Yield times, shares, memory and kernels of both directions, in both number formats."""
    for word, dtype in DTYPES.items():
        model = models.vae(vae.config, clock.device, dtype)
        latents = models.noise(clock.device, dtype, 1, *vae.latents)
        clip = _clip(model, vae, dtype, clock.device)
        pixels = clip.shape[-2] * clip.shape[-1]
        _, (begin, end), *_ = fast_vae(model, Switches()).spans(vae.latents[1], pixels)
        yield Row(f"{name}, {word}: latent frames at once", end - begin, "")
        for stage, runs in (("decode", _decodings(model, latents)), ("encode", _encodings(model, clip))):
            yield from _rows(f"{name}, {word}: {stage}", runs, clock)


def _rows(what: str, runs: dict[str, Callable[[], object]], clock: Clock) -> Iterator[Row]:
    seconds = clock.turns(runs).seconds
    for run, taken in seconds.items():
        yield Row(f"{what}, {run}", 1000 * taken, "ms")
    share = seconds["ours"] / seconds["diffusers"]
    yield Row(f"{what}, ours, share of diffusers' time", share, "", round(MOST_STOCK, 3))
    for run in ("diffusers", "ours"):
        yield Row(f"{what}, {run}, memory beside the weights at its peak", clock.peak(runs[run]) / 1e9, "GB")
        found = profiled(runs[run], clock.device)
        for kind, spent in sorted(found.seconds.items()):
            yield Row(f"{what}, {run}: {kind}, mostly by {found.kernels[kind]}", 1000 * spent, "ms")


def _decodings(model: AutoencoderKLWan, latents: torch.Tensor) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {"diffusers": lambda: model.decode(latents)}
    for run, ours in _ours(model).items():
        runs[run] = lambda ours=ours: list(decode_chunks(ours, latents))
    return runs


def _encodings(model: AutoencoderKLWan, clip: torch.Tensor) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {"diffusers": lambda: model.encode(clip)}
    return runs | {run: lambda ours=ours: ours.encode(clip) for run, ours in _ours(model).items()}


def _ours(model: AutoencoderKLWan) -> dict[str, AutoencoderKLWan]:
    every = Switches()
    found = {"ours": fast_vae(model, every)}
    return found | {f"ours without {part}": fast_vae(model, replace(every, **{part: False})) for part in PARTS}


def _clip(model: AutoencoderKLWan, vae: Vae, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Return pixels `(1, 3, frames, height, width)` of the size that the latents have."""
    _, frames, height, width = vae.latents
    factor = model.config.scale_factor_spatial
    size = 1 + FRAMES * (frames - 1), height * factor, width * factor
    return models.noise(device, dtype, 1, 3, *size).clamp_(-1, 1)
