"""The proof of our forward pass against diffusers' own, on few tokens at load."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.dit.block import cross_attention, feed_forward, run_blocks, self_attention
from plugins.diffusers_backend.dit.network import Network, Pass
from plugins.diffusers_backend.dit.timestep_embedding import TimestepEmbedding, embed_timesteps
from plugins.diffusers_backend.tuning.support import mark_of
from plugins.wan.memory import brief, is_device_lost, is_out_of_memory
from plugins.wan.weights.device_format import FP8, FP8_PRODUCTS
from plugins.wan.weights.quantised.layer import QuantisedLinear

# relative, in the 2-norm; rounding gave at most 1.6e-6, 4.1e-3 and 4.9e-4 on a CPU, the first at the width of 14B
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1.5e-2, torch.float16: 4e-3}
FRAMES, TOKENS = 3, 4  # of a clip, and of one of its frames
WORDS = (5, 9)  # of the two prompts
TEXT_TOKENS, IMAGE_TOKENS = 512, 257
TIMES = (0.0, 700.0, 700.0)  # one a frame: the first frame is an image
SMALL = 0.1  # factor of a block's input: the block's own addition must not drown in it


class Difference(NamedTuple):
    """The relative difference in the 2-norm between our numbers for a part and diffusers'."""

    part: str
    size: float


def disproof(network: Network) -> str | None:
    """Return a difference of our forward pass from diffusers' own, in words, or None."""
    if (tolerance := TOLERANCE.get(network.dtype)) is None:
        return f"its weights are in {network.dtype}"
    try:
        for part, size in differences(network):
            if not size <= tolerance:  # NaN, too
                return (
                    f"our {part} is {size:.2g} off that of diffusers {diffusers.__version__}, "
                    f"rounding gives {tolerance:g}"
                )
    except Exception as error:
        # a diffusers with other signatures may raise anything; but a lost device serves no other
        if is_device_lost(error) or is_out_of_memory(error):
            raise
        return f"trying ours beside diffusers {diffusers.__version__} gave {brief(error)}"
    return None


@torch.no_grad()
def differences(network: Network) -> Iterator[Difference]:
    """Yield the difference of each part, for the end blocks and each further kind."""
    usual = replace(network.switches, measured_attention=False, gelu_epilogue=False)  # measured at each size instead
    few, names = _with_few_blocks(network.model)
    ours = replace(network, model=few, switches=usual, compiler=None)
    sample = _sample(ours)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # diffusers embeds patches by a convolution
        for times in (sample.times[-1:], sample.times):
            yield from _of_pass(ours, sample, times, names)


class _Sample(NamedTuple):
    """Random inputs: latents, two padded prompts, CLIP's tokens, timesteps of the frames."""

    latents: torch.Tensor
    embeds: torch.Tensor
    image: torch.Tensor | None
    times: torch.Tensor
    hidden: torch.Tensor


def _sample(network: Network) -> _Sample:
    model, config = network.model, network.model.config
    generator = torch.Generator("cpu").manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(network.device, network.dtype)

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


class _Stock(NamedTuple):
    timestep: torch.Tensor
    image: torch.Tensor | None
    summary: torch.Tensor
    time: torch.Tensor
    context: torch.Tensor
    rotary: Any


def _stock(model: WanTransformer3DModel, sample: _Sample, times: torch.Tensor) -> _Stock:
    prompts, framewise = len(sample.embeds), len(times) > 1
    timestep = times.repeat_interleave(TOKENS).expand(prompts, -1) if framewise else times.expand(prompts)
    image = None if sample.image is None else sample.image.flatten(0, 1).expand(prompts, -1, -1)
    if image is not None and model.config.pos_embed_seq_len is not None:
        image = image.unflatten(1, (2, -1)).flatten(0, 1)  # as the pipelines pass both images of each prompt
    rotary = model.rope(sample.latents)
    summary, time, text, tokens = model.condition_embedder(
        timestep.flatten(), sample.embeds, image, timestep_seq_len=timestep.shape[1] if framewise else None
    )
    context = text if tokens is None else torch.cat([tokens, text], dim=1)
    return _Stock(timestep, image, summary, time.unflatten(-1, (6, -1)), context, rotary)


def _of_pass(network: Network, sample: _Sample, times: torch.Tensor, names: list[str]) -> Iterator[Difference]:
    """Yield the differences with one timestep for all tokens, or one per frame."""
    model, prompts, framewise = network.model, len(sample.embeds), len(times) > 1
    image = None if sample.image is None else network.read_image(sample.image)
    ours = network.prepare(sample.latents, sample.embeds, len(times), image)
    embedding, stock = embed_timesteps(model, times), _stock(model, sample, times)
    if not framewise:
        yield _difference("time embedding", embedding.summary, stock.summary[:1])
        yield _difference("time projection", embedding.time, stock.time[:1])
        patches = model.patch_embedding(sample.latents).flatten(2).transpose(1, 2)
        yield _difference("patch embedding", ours.patches(sample.latents), patches)
    for number, name in enumerate(names):
        yield from _of_block(model.blocks[number], number, name, ours, embedding, sample.hidden, stock)
    latents = sample.latents.expand(prompts, -1, -1, -1, -1)
    expected = model(latents, stock.timestep, sample.embeds, stock.image, return_dict=False)[0]
    yield _difference(f"{_word(embedding)}forward pass", ours(sample.latents, embedding), expected)


def _of_block(
    block: Any, number: int, name: str, ours: Pass, embedding: TimestepEmbedding, x: torch.Tensor, stock: _Stock
) -> Iterator[Difference]:
    """Yield the differences of one block, and of its layers unless framewise."""
    context, weights, bias, kernels = ours.text.blocks[number], ours.weights[number], ours.text.bias, ours.kernels
    grouped, both = x.unflatten(1, (len(embedding.time), -1)), x.expand(len(stock.context), -1, -1)
    if not _word(embedding):
        got = self_attention(grouped, ours.by, weights, kernels).flatten(1, 2)
        yield _difference(f"self-attention in {name}", got, block.attn1(x, None, None, stock.rotary))
        got = cross_attention(grouped, context, bias, weights, kernels).flatten(1, 2)
        yield _difference(f"cross-attention in {name}", got, block.attn2(both, stock.context, None, None))
        yield _difference(f"feed-forward layer in {name}", feed_forward(x, weights, kernels), block.ffn(x))
    got = run_blocks(SMALL * grouped, embedding.time, ours.by, (context,), bias, (weights,), kernels).flatten(1, 2)
    expected = block(SMALL * both, stock.context, stock.time, stock.rotary)
    yield _difference(f"{_word(embedding)}pass of {name}", got, expected)


def _word(embedding: TimestepEmbedding) -> str:
    return "framewise " if len(embedding.time) > 1 else ""


def _difference(part: str, ours: torch.Tensor, stock: torch.Tensor) -> Difference:
    if ours.shape != stock.shape or ours.dtype is not stock.dtype:
        return Difference(part, float("inf"))
    off, whole = (ours.double() - stock.double()).norm(), stock.double().norm()
    return Difference(part, 0.0 if off == whole == 0 else float(off / whole))


def _with_plain_products(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy over the same weights without products in fp8."""
    # these round their input so coarsely that two orders of the same sums would seem two different results
    twin = copy.copy(module)
    if isinstance(twin, QuantisedLinear) and twin.format == FP8_PRODUCTS:
        twin.format = FP8
    twin._modules = {name: child and _with_plain_products(child) for name, child in module._modules.items()}
    return twin


def _with_few_blocks(model: WanTransformer3DModel) -> tuple[WanTransformer3DModel, list[str]]:
    # the copy shares all modules, and `model` itself stays as it is
    kinds: dict[object, int] = {}
    for number, block in enumerate(model.blocks):
        kinds.setdefault(tuple(mark_of(each, "block") for each in block.modules()), number)
    numbers = sorted({*kinds.values(), len(model.blocks) - 1})
    few = copy.copy(model)
    blocks = torch.nn.ModuleList(_with_plain_products(model.blocks[number]) for number in numbers)
    few._modules = {**model._modules, "blocks": blocks}
    return few, [f"blocks.{number}" for number in numbers]
