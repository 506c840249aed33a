"""Our forward pass against diffusers' own, on the modules that were loaded: a few tokens, each kind of block."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import diffusers
import torch
from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.dit.block import attend_context, attend_itself, feed, run_blocks
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.diffusers_backend.tuning.support import mark_of
from plugins.wan.memory import is_device_lost, is_out_of_memory

# relative, in the 2-norm; rounding gave at most 1.6e-6, 4.1e-3 and 4.9e-4 on a CPU, the first at the width of 14B
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1.5e-2, torch.float16: 4e-3}
FRAMES, TOKENS = 3, 4  # of a clip, and of one of its frames
WORDS = (5, 9)  # of the two prompts
TEXT_TOKENS, IMAGE_TOKENS = 512, 257
TIMES = (0.0, 700.0, 700.0)  # one a frame: the first is given
SMALL = 0.1  # of a block's input: what the block adds must not drown in it


class Difference(NamedTuple):
    """How far our numbers for a part are from diffusers', relative in the 2-norm."""

    part: str
    size: float


def disproof(network: Network) -> str | None:
    """Return what our forward pass gives other numbers for than diffusers' own, in words; None where it is proven."""
    if (most := TOLERANCE.get(network.dtype)) is None:
        return f"its weights are in {network.dtype}"
    try:
        for part, size in differences(network):
            if not size <= most:  # nor if it is no number
                return (
                    f"our {part} is {size:.2g} off that of diffusers {diffusers.__version__}, rounding gives {most:g}"
                )
    except Exception as error:
        # a diffusers that is called otherwise may raise anything; but a device that is lost serves no other
        if is_device_lost(error) or is_out_of_memory(error):
            raise
        said = str(error).strip().partition(chr(10))[0][:200]
        return f"trying ours beside diffusers {diffusers.__version__} gave {type(error).__name__}: {said}"
    return None


@torch.no_grad()
def differences(network: Network) -> Iterator[Difference]:
    """Yield the difference of each part; runs two blocks, and one more of each further kind."""
    usual = replace(network.switches, measured_attention=False, gelu_epilogue=False)  # those are measured by size
    few, names = _with_few_blocks(network.model)
    ours = replace(network, model=few, switches=usual, compiler=None)
    sample = _sample(ours)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # diffusers embeds patches by a convolution
        for times in (sample.times[-1:], sample.times):
            yield from _of_pass(ours, sample, times, names)


class _Sample(NamedTuple):
    """Random inputs: latents, two prompts as the pipelines pad them, CLIP's tokens, timesteps of the frames."""

    latents: torch.Tensor
    embeds: torch.Tensor
    image: torch.Tensor | None
    times: torch.Tensor
    hidden: torch.Tensor


def _sample(network: Network) -> _Sample:
    model, config = network.model, network.model.config
    made = torch.Generator("cpu").manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=made).to(network.device, network.dtype)

    embeds = noise(len(WORDS), TEXT_TOKENS, config.text_dim)
    for prompt, words in zip(embeds, WORDS, strict=True):
        prompt[words:] = 0
    image = None
    if config.image_dim is not None:
        images = 1 if config.pos_embed_seq_len is None else 2
        count = IMAGE_TOKENS if images == 1 else config.pos_embed_seq_len // images
        image = noise(images, count, config.image_dim)
    latents = noise(1, config.in_channels, FRAMES, 4, 4)
    hidden = noise(1, FRAMES * TOKENS, model.patch_embedding.weight.shape[0])
    return _Sample(latents, embeds, image, torch.tensor(TIMES, device=network.device), hidden)


def _of_pass(network: Network, sample: _Sample, times: torch.Tensor, names: list[str]) -> Iterator[Difference]:
    """Yield the differences with one timestep for all tokens, or one for each frame."""
    model, prompts, framewise = network.model, len(sample.embeds), len(times) > 1
    timestep = times.repeat_interleave(TOKENS).expand(prompts, -1) if framewise else times.expand(prompts)
    image = None if sample.image is None else sample.image.flatten(0, 1).expand(prompts, -1, -1)
    if image is not None and model.config.pos_embed_seq_len is not None:
        image = image.unflatten(1, (2, -1)).flatten(0, 1)  # as the pipelines give both images of each prompt

    seen = None if sample.image is None else network.read_image(sample.image)
    ours, moment = network.prepare(sample.latents, sample.embeds, len(times), seen), embed_timesteps(model, times)
    word = "framewise " if framewise else ""

    rotary = model.rope(sample.latents)
    summary, time, text, tokens = model.condition_embedder(
        timestep.flatten(), sample.embeds, image, timestep_seq_len=timestep.shape[1] if framewise else None
    )
    time = time.unflatten(-1, (6, -1))
    context = text if tokens is None else torch.cat([tokens, text], dim=1)
    if not framewise:
        yield _difference("time embedding", moment.summary, summary[:1])
        yield _difference("time projection", moment.time, time[:1])
        patches = model.patch_embedding(sample.latents).flatten(2).transpose(1, 2)
        yield _difference("patch embedding", ours.patches(sample.latents), patches)

    for name, block, own, weights in zip(names, model.blocks, ours.text.blocks, ours.weights, strict=True):
        x, shape = sample.hidden, ours.shape
        grouped, both = x.unflatten(1, (len(times), -1)), x.expand(prompts, -1, -1)
        if not framewise:
            got = attend_itself(grouped, ours.by, weights, shape)
            yield _difference(f"self-attention in {name}", got.flatten(1, 2), block.attn1(x, None, None, rotary))
            got = attend_context(grouped, own, ours.text.bias, weights, shape)
            yield _difference(f"cross-attention in {name}", got.flatten(1, 2), block.attn2(both, context, None, None))
            yield _difference(f"feed-forward layer in {name}", feed(x, weights, shape), block.ffn(x))
        got = run_blocks(SMALL * grouped, moment.time, ours.by, (own,), ours.text.bias, (weights,), shape)
        expected = block(SMALL * both, context, time, rotary)
        yield _difference(f"{word}pass of {name}", got.flatten(1, 2), expected)

    latents = sample.latents.expand(prompts, -1, -1, -1, -1)
    expected = model(latents, timestep, sample.embeds, image, return_dict=False)[0]
    yield _difference(f"{word}forward pass", ours(sample.latents, moment), expected)


def _difference(part: str, ours: torch.Tensor, theirs: torch.Tensor) -> Difference:
    if ours.shape != theirs.shape or ours.dtype is not theirs.dtype:
        return Difference(part, float("inf"))
    off, whole = (ours.double() - theirs.double()).norm(), theirs.double().norm()
    return Difference(part, 0.0 if off == whole == 0 else float(off / whole))


def _with_few_blocks(model: WanTransformer3DModel) -> tuple[WanTransformer3DModel, list[str]]:
    """Return `model` with its first block, its last, and the first of each further kind; and their names.

    It shares all modules, and the one that was given stays as it is.
    """
    kinds = {}
    for number, block in enumerate(model.blocks):
        kinds.setdefault(tuple(mark_of(each, "block") for each in block.modules()), number)
    numbers = sorted({*kinds.values(), len(model.blocks) - 1})
    few = copy.copy(model)
    few._modules = {**model._modules, "blocks": torch.nn.ModuleList(model.blocks[number] for number in numbers)}
    return few, [f"blocks.{number}" for number in numbers]
