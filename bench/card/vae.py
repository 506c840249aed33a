"""Decoding and encoding of a clip: diffusers', ours, and with single switches off."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from diffusers import AutoencoderKLWan

from bench.card import models
from bench.card.clock import Clock
from bench.card.dit import longest
from bench.card.shapes import Vae
from bench.tools.table import Row
from plugins.wan.generate.decode import decode_chunks
from plugins.wan.tuning.switches import Switches
from plugins.wan.vae.fast_vae import fast_vae

PARTS = ("norm", "vae_norm_kernel", "padding_kernel", "channels_last", "chunks")  # convolution is for CPUs
MOST_STOCK = 1 / 1.8  # of diffusers' time to decode
FRAMES = 4  # frames of pixels in a latent frame
DECODE, ENCODE = torch.bfloat16, torch.float32  # the defaults of an engine on a GPU
Run = Callable[[], object]


@torch.no_grad()
def decode(name: str, vae: Vae, clock: Clock) -> Iterator[Row]:
    model, latents = _decoder(vae, clock)
    ours = fast_vae(model, Switches())
    _, frames, height, width = vae.latents
    _, (begin, end), *_ = ours.spans(frames, height * width * model.config.scale_factor_spatial**2)
    yield Row(f"{name}: latent frames decoded at once", end - begin)
    runs = {"diffusers": lambda: model.decode(latents), "ours": _all(ours, latents)}
    model.decode(latents[:, :, :2])  # makes plans and kernels; a whole clip would take seconds
    _all(ours, latents[:, :, : 1 + end - begin])()
    yield from _rows(f"{name}, bf16: decode", runs, clock)


@torch.no_grad()
def encode(name: str, vae: Vae, clock: Clock) -> Iterator[Row]:
    model = models.vae(vae.config, clock.device, ENCODE)
    ours, clip = fast_vae(model, Switches()), _clip(model, vae, clock.device)
    runs = {"diffusers": lambda: model.encode(clip), "ours": lambda: ours.encode(clip)}
    for each in (model, ours):
        each.encode(clip[:, :, :5])
    yield from _rows(f"{name}, fp32: encode", runs, clock, bound=None)


@torch.no_grad()
def parts(name: str, vae: Vae, clock: Clock) -> Iterator[Row]:
    """Yield the ratio of decoding times with each part off."""
    model, latents = _decoder(vae, clock)
    usual = Switches()
    switches = {"ours": usual, "again": usual} | {part: replace(usual, **{part: False}) for part in PARTS}
    runs = {each: _all(fast_vae(model, on), latents) for each, on in switches.items()}
    for on in switches.values():
        _all(fast_vae(model, on), latents[:, :, :5])()
    seconds = clock.compared(runs).seconds
    yield Row(f"{name}, bf16: decode, ours", 1000 * seconds["ours"], "ms")
    yield Row(f"{name}, bf16: decode, the same, measured again", seconds["again"] / seconds["ours"], "times")
    for part in PARTS:
        yield Row(f"{name}, bf16: decode, without {part}", seconds[part] / seconds["ours"], "times")


def _rows(what: str, runs: Mapping[str, Run], clock: Clock, bound: float | None = MOST_STOCK) -> Iterator[Row]:
    rounds = clock.compared(runs)
    seconds = rounds.seconds
    for run, taken in seconds.items():
        yield Row(f"{what}, {run}", 1000 * taken, "ms")
        yield Row(f"{what}, {run}, memory beside the weights at its peak", rounds.peaks[run] / 1e9, "GB")
    share = seconds["ours"] / seconds["diffusers"]
    yield Row(f"{what}, ours / diffusers", share, "times", bound if clock.device != "cpu" else None)
    if bound is not None and share >= bound:
        yield from longest(f"{what}, ours", runs["ours"], clock)


def _decoder(vae: Vae, clock: Clock) -> tuple[AutoencoderKLWan, torch.Tensor]:
    model = models.vae(vae.config, clock.device, DECODE)
    return model, models.noise(clock.device, DECODE, 1, *vae.latents)


def _all(ours: AutoencoderKLWan, latents: torch.Tensor) -> Run:
    def run() -> None:
        for _ in decode_chunks(ours, latents):
            pass

    return run


def _clip(model: AutoencoderKLWan, vae: Vae, device: str) -> torch.Tensor:
    """Return random pixels `(1, 3, frames, height, width)` of the latents' size."""
    _, frames, height, width = vae.latents
    factor = model.config.scale_factor_spatial
    size = 1 + FRAMES * (frames - 1), height * factor, width * factor
    return models.noise(device, ENCODE, 1, 3, *size).clamp_(-1, 1)
