"""Our forward pass of the DiT against diffusers' own, over the same weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from plugins.wan.tuning.switches import OFF, Switches

pytestmark = pytest.mark.slow

BOUND = 1.3e-6  # relative, in the 2-norm, in fp32: three times what was seen on processors with and without AVX
ALONE = replace(OFF, transformer=True)


@pytest.fixture
def model() -> Any:
    from nano import parts

    return parts.seeded(3, parts.transformer)


def random(*shape: int) -> Any:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def prompts(*own: int) -> list[Any]:
    """Return padded prompts with these numbers of rows of their own."""
    made = [random(1, 512, 128) + index for index in range(len(own))]
    for prompt, count in zip(made, own, strict=True):
        prompt[:, count:] = 0
    return made


def ours(model: Any, latents: Any, embeds: Sequence[Any], times: Any, switches: Switches, image: Any = None) -> Any:
    import torch

    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps

    network = Network(model, switches, None)
    seen = None if image is None else network.read_image(image)
    run = network.prepare(latents, torch.cat(list(embeds)), len(times), seen)
    with torch.no_grad():
        return run(latents, embed_timesteps(model, times))


def stock(model: Any, latents: Any, embeds: Sequence[Any], timestep: Any, image: Any = None) -> Any:
    import torch

    with torch.no_grad():
        return torch.cat([model(latents, timestep, each, image, return_dict=False)[0] for each in embeds])


def cast(model: Any, dtype: Any) -> Any:
    """Return `model` in `dtype`, except modules that diffusers keeps in fp32."""
    for name, weight in model.named_parameters():
        if not any(part in model._keep_in_fp32_modules for part in name.split(".")):
            weight.data = weight.data.to(dtype)
    return model


def off(got: Any, expected: Any) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize(
    "switches",
    [
        ALONE,
        replace(ALONE, merged_padding=True),
        replace(ALONE, packed_qkv=True),
        Switches(),
    ],
    ids=["alone", "merged_padding", "packed_qkv", "all"],
)
@pytest.mark.parametrize("shape", [(5, 8, 8), (1, 2, 4), (3, 10, 6)], ids=str)
def test_the_velocity_is_that_of_the_stock_model(model: Any, switches: Switches, shape: tuple[int, ...]) -> None:
    import torch

    latents, times = random(1, 16, *shape), torch.tensor([321.0])
    for embeds in (prompts(11), prompts(40, 3), prompts(0), prompts(512, 7), prompts(511)):
        expected = stock(model, latents, embeds, times)
        assert off(ours(model, latents, embeds, times, switches), expected) < BOUND


@pytest.mark.parametrize("cross_attn_norm", [True, False])
@pytest.mark.parametrize("by", ["frame", "token"])
def test_timesteps_of_frames_are_those_of_their_tokens(by: str, cross_attn_norm: bool) -> None:
    import torch

    from nano import parts

    model = parts.seeded(3, lambda: parts.transformer(cross_attn_norm=cross_attn_norm))
    latents, frames = random(1, 16, 5, 8, 8), torch.tensor([0.0, 700.0, 700.0, 700.0, 700.0])
    tokens = frames.repeat_interleave(16)

    got = ours(model, latents, prompts(5, 9), frames if by == "frame" else tokens, Switches())

    assert off(got, stock(model, latents, prompts(5, 9), tokens[None])) < BOUND


CLIP = {"image_dim": 32, "added_kv_proj_dim": 128}


@pytest.mark.parametrize("switches", [ALONE, Switches()], ids=["alone", "all"])
@pytest.mark.parametrize(("images", "changes"), [(1, CLIP), (2, {**CLIP, "pos_embed_seq_len": 514})])
def test_what_clip_sees_reaches_the_blocks(switches: Switches, images: int, changes: dict[str, Any]) -> None:
    import torch

    from nano import parts

    model = parts.seeded(3, lambda: parts.transformer(36, **changes))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "pos_embed" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    latents, times, image = random(1, 36, 5, 8, 8), torch.tensor([321.0]), random(images, 257, 32)
    for embeds in (prompts(11), prompts(40, 3), prompts(512, 7)):
        expected = stock(model, latents, embeds, times, image)
        assert off(ours(model, latents, embeds, times, switches, image), expected) < BOUND
        assert off(expected, stock(model, latents, embeds, times, -image)) > 1e-3


def test_passes_with_and_without_an_image_are_compiled_apart() -> None:
    import torch

    from nano import parts
    from plugins.diffusers_backend.dit.network import Network

    model = parts.transformer(36, **CLIP)
    network, latents, embeds = Network(model, Switches(), None), random(1, 36, 5, 8, 8), torch.cat(prompts(11, 4))
    images = [network.read_image(random(1, tokens, 32)) for tokens in (257, 514)]
    keys = [network.prepare(latents, embeds, 1, image).key for image in (None, *images)]

    assert len(set(keys)) == 3
    assert [str(key).rpartition("keys of a text")[2] for key in keys] == [
        ": 32, float32",
        ": 32, of an image: 257, float32",
        ": 32, of an image: 514, float32",
    ]


def test_half_precision_is_as_near_to_fp32_as_the_stock_model_is(model: Any) -> None:
    import torch

    latents, times, embeds = random(1, 16, 5, 8, 8), torch.tensor([500.0]), prompts(11, 4)
    exact = stock(model, latents, embeds, times)
    cast(model, torch.bfloat16)
    given = latents.bfloat16(), [each.bfloat16() for each in embeds], times

    got, expected = ours(model, *given, Switches()), stock(model, *given)

    assert got.dtype is torch.bfloat16
    assert off(got, exact) < 1.1 * off(expected, exact)


def test_packing_moves_no_bit_and_takes_no_memory(model: Any) -> None:
    import torch

    from plugins.diffusers_backend.dit.fuse_qkv import fuse_qkv
    from router.engine.parts import size_of

    latents, times, embeds = random(1, 16, 5, 8, 8), torch.tensor([500.0]), prompts(11)
    before, size = stock(model, latents, embeds, times), size_of(model)
    attention = model.blocks[0].attn1
    layers = (attention.to_q, attention.to_k, attention.to_v)
    weight, _ = fuse_qkv(*layers)

    assert torch.equal(stock(model, latents, embeds, times), before)
    assert size_of(model) == size
    assert weight.untyped_storage().data_ptr() == attention.to_v.weight.untyped_storage().data_ptr()
    assert fuse_qkv(*layers)[0].data_ptr() == weight.data_ptr()

    attention.to_k.weight.data = attention.to_k.weight.data.clone()  # as when it was on the host meanwhile
    again, _ = fuse_qkv(*layers)
    assert torch.equal(again, weight)
    assert again.data_ptr() == attention.to_q.weight.data_ptr() != weight.data_ptr()


def test_merged_rows_stand_for_all_that_are_alike() -> None:
    import torch

    from plugins.diffusers_backend.dit.cross_attention import merge_padding

    rows, bias = merge_padding(torch.cat(prompts(11, 40)))
    assert rows.shape == (2, 64, 128)
    assert torch.allclose(bias.exp().sum(-1).flatten(), torch.tensor(512.0))
    assert bias[0, 0, 0, :11].eq(0).all()

    for own in (512, 300):
        rows, bias = merge_padding(torch.cat(prompts(own)))
        assert rows.shape[1] == 512
        assert bias is None
