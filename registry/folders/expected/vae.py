"""The tensors of diffusers' AutoencoderKLWan, in its 2.1 and its residual 2.2 kind."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from registry.folders.expected.numbers import MOST_BLOCKS, Numbers, Shape, layer

MOST_LEVELS, MOST_MULTIPLE = 16, 64
MOST_SCALE = 64  # pixels or frames a latent
CUBE = (3, 3, 3)


class Layout(NamedTuple):
    """The counts that name a VAE's modules: residual blocks a level, and its kind."""

    blocks: int
    residual: bool


def multiples(numbers: Numbers) -> list[int]:
    return numbers.several("dim_mult", [1, 2, 4, 4], (1, MOST_LEVELS), MOST_MULTIPLE)


def layout(numbers: Numbers) -> Layout:
    return Layout(numbers.whole("num_res_blocks", 2, MOST_BLOCKS), numbers.flag("is_residual", default=False))


def tensors(numbers: Numbers) -> Iterator[tuple[str, Shape]]:
    base, latents = numbers.whole("base_dim", 96), numbers.whole("z_dim", 16)
    most = numbers.perhaps("decoder_base_dim") or base
    levels, (blocks, residual) = multiples(numbers), layout(numbers)
    timed = numbers.listed("temperal_downsample", len(levels) - 1, (bool,), [False, True, True])
    takes, makes = numbers.whole("in_channels", 3), numbers.whole("out_channels", 3)
    _require_others(numbers, latents)
    yield from layer("quant_conv", (2 * latents, 2 * latents, 1, 1, 1))
    yield from layer("post_quant_conv", (latents, latents, 1, 1, 1))
    yield from layer("encoder.conv_in", (base, takes, *CUBE))
    yield from layer("encoder.conv_out", (2 * latents, base * levels[-1], *CUBE))
    yield from layer("decoder.conv_in", (most * levels[-1], latents, *CUBE))
    yield from layer("decoder.conv_out", (makes, most * levels[0], *CUBE))
    yield "encoder.norm_out.gamma", (base * levels[-1], 1, 1, 1)
    yield "decoder.norm_out.gamma", (most * levels[0], 1, 1, 1)
    yield from _middle("encoder.mid_block", base * levels[-1])
    yield from _middle("decoder.mid_block", most * levels[-1])
    yield from _down([base * each for each in (1, *levels)], blocks, residual, timed)
    yield from _up([most * each for each in (levels[-1], *reversed(levels))], blocks, residual, timed[::-1])


def _require_others(numbers: Numbers, latents: int) -> None:
    """Raise for settings that change no tensor, but a load or a job."""
    numbers.listed("attn_scales", 0, ())  # no Wan has any
    for key in ("latents_mean", "latents_std"):
        numbers.listed(key, latents, (int, float))
    for key, default in (("scale_factor_spatial", 8), ("scale_factor_temporal", 4)):
        numbers.whole(key, default, MOST_SCALE)
    numbers.perhaps("patch_size", MOST_SCALE)


def _down(widths: list[int], blocks: int, residual: bool, timed: list[bool]) -> Iterator[tuple[str, Shape]]:
    flat = 0  # diffusers keeps the blocks and samplers of the 2.1 kind in one list
    for level, (takes, width) in enumerate(pairwise(widths)):
        for number in range(blocks):
            name = f"{level}.resnets.{number}" if residual else str(flat + number)
            yield from _resnet(f"encoder.down_blocks.{name}", width if number else takes, width)
        flat += blocks
        if level < len(timed):
            name = f"{level}.downsampler" if residual else str(flat)
            yield from layer(f"encoder.down_blocks.{name}.resample.1", (width, width, 3, 3))
            if timed[level]:
                yield from layer(f"encoder.down_blocks.{name}.time_conv", (width, width, 3, 1, 1))
            flat += 1


def _up(widths: list[int], blocks: int, residual: bool, timed: list[bool]) -> Iterator[tuple[str, Shape]]:
    for level, (before, width) in enumerate(pairwise(widths)):
        name = f"decoder.up_blocks.{level}"
        takes = before if residual or not level else before // 2  # the samplers of the 2.1 kind halve the channels
        for number in range(blocks + 1):
            yield from _resnet(f"{name}.resnets.{number}", width if number else takes, width)
        if level < len(timed):
            sampler = f"{name}.upsampler" if residual else f"{name}.upsamplers.0"
            yield from layer(f"{sampler}.resample.1", (width if residual else width // 2, width, 3, 3))
            if timed[level]:
                yield from layer(f"{sampler}.time_conv", (2 * width, width, 3, 1, 1))


def _middle(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _resnet(f"{name}.resnets.0", width, width)
    yield from _resnet(f"{name}.resnets.1", width, width)
    yield f"{name}.attentions.0.norm.gamma", (width, 1, 1)
    yield from layer(f"{name}.attentions.0.to_qkv", (3 * width, width, 1, 1))
    yield from layer(f"{name}.attentions.0.proj", (width, width, 1, 1))


def _resnet(name: str, takes: int, makes: int) -> Iterator[tuple[str, Shape]]:
    yield from layer(f"{name}.conv2", (makes, makes, *CUBE))
    yield f"{name}.norm1.gamma", (takes, 1, 1, 1)
    yield from layer(f"{name}.conv1", (makes, takes, *CUBE))
    yield f"{name}.norm2.gamma", (makes, 1, 1, 1)
    if takes != makes:
        yield from layer(f"{name}.conv_shortcut", (makes, takes, 1, 1, 1))
