"""The fast VAE against diffusers' own: each part alone, and all together."""

from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.wan.tuning.switches import OFF, Switches

pytestmark = pytest.mark.slow

BOUND = 1.2e-5  # of values in -1...1, in fp32: three times what was seen; a step of uint8 is 8e-3
PARTS = (
    ("convolution",),
    ("norm",),
    ("chunks",),
    ("convolution", "channels_last"),
    ("convolution", "norm", "channels_last", "chunks"),
)


@pytest.fixture(params=["nano", "2.1", "2.2"])
def vae(request: pytest.FixtureRequest) -> Any:
    from support import tiny

    from nano import parts

    return parts.seeded(2, {"nano": parts.vae, "2.1": tiny.vae_of_2_1, "2.2": tiny.vae_of_2_2}[request.param])


@pytest.fixture
def latents() -> Any:
    import torch

    return torch.randn(1, 16, 7, 3, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def clip() -> Any:
    import torch

    return torch.rand(1, 3, 25, 48, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def quick(vae: Any, *on: str) -> Any:
    from plugins.wan.vae.fast_vae import fast_vae

    return fast_vae(vae, replace(OFF, **dict.fromkeys(on, True)))


def test_decoding_is_that_of_the_stock_vae_to_rounding(vae: Any, latents: Any) -> None:
    import torch

    from plugins.wan.generate.decode import decode_chunks

    made = {on: torch.cat(list(decode_chunks(quick(vae, *on), latents)), 2) for on in PARTS}

    with torch.no_grad():
        stock = vae.decode(latents).sample
    assert [on for on in PARTS if (made[on].clamp(-1, 1) - stock).abs().max() >= BOUND] == []


@pytest.mark.parametrize("frames", [1, 5, 25])
def test_encoding_is_that_of_the_stock_vae_to_rounding(vae: Any, clip: Any, frames: int) -> None:
    import torch

    with torch.no_grad():
        stock = vae.encode(clip[:, :, :frames]).latent_dist.mean
        made = {on: quick(vae, *on).encode(clip[:, :, :frames]).latent_dist.mean for on in PARTS}

    assert [on for on in PARTS if (made[on] - stock).abs().max() >= BOUND] == []


def test_weights_are_shared_and_the_stock_vae_stays_as_it_was(vae: Any, latents: Any) -> None:
    import torch

    with torch.no_grad():
        before = vae.decode(latents).sample
    ours = quick(vae, *asdict(Switches()))

    assert [id(tensor) for tensor in ours.parameters()] == [id(tensor) for tensor in vae.parameters()]
    with torch.no_grad():
        assert torch.equal(vae.decode(latents).sample, before)


def test_a_vae_that_something_is_hooked_into_stays_what_it_is(vae: Any) -> None:
    assert quick(vae) is vae
    vae.decoder.conv_in.register_forward_pre_hook(lambda *_: None)
    assert quick(vae, *asdict(Switches())) is vae


def test_a_twin_is_made_once_for_the_same_switches_and_is_no_part_of_the_vae(vae: Any) -> None:
    names = list(vae.state_dict())
    one, other = quick(vae, "norm"), quick(vae, "chunks")

    assert quick(vae, "norm") is one
    assert other is not one
    assert list(vae.state_dict()) == list(one.state_dict()) == list(other.state_dict()) == names


def test_gradients_and_half_precision_take_the_stock_way(vae: Any, latents: Any) -> None:
    import torch

    ours = quick(vae, "convolution", "norm")
    assert torch.equal(ours.decoder.conv_in(latents), vae.decoder.conv_in(latents))

    with torch.no_grad():
        vae.to(torch.bfloat16)  # and so is its twin
        assert torch.equal(ours.decode(latents.bfloat16()).sample, vae.decode(latents.bfloat16()).sample)


def test_chunks_grow_shorter_as_the_picture_grows(vae: Any) -> None:
    ours = quick(vae, "chunks")

    assert list(ours.spans(7, 64 * 64)) == [(0, 1), (1, 5), (5, 7)]
    assert list(ours.spans(4, 512 * 512)) == [(0, 1), (1, 3), (3, 4)]
    assert list(ours.spans(3, 1280 * 720)) == [(0, 1), (1, 2), (2, 3)]
    assert list(quick(vae, "norm").spans(3, 64 * 64)) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("config", "gigabytes", "size", "at_once"),
    [
        ({}, 150.7, (832, 480), 2),
        ({}, 150.7, (1280, 720), 1),
        ({}, 25.2, (832, 480), 1),
        ({"base_dim": 160, "decoder_base_dim": 256, "patch_size": 2}, 150.7, (1280, 704), 1),
    ],
)
def test_chunks_on_a_card_grow_with_all_its_memory(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], gigabytes: float, size: tuple[int, int], at_once: int
) -> None:
    import torch
    from diffusers import AutoencoderKLWan

    from plugins.wan.vae.fast_vae import FastVae

    with torch.device("meta"):
        ours = AutoencoderKLWan(**config).to(torch.bfloat16)
    ours.__class__, ours.chunks = FastVae, True
    card = SimpleNamespace(total_memory=int(gigabytes * 1e9))
    monkeypatch.setattr(FastVae, "device", torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)

    assert list(ours.spans(6, size[0] * size[1]))[1] == (1, 1 + at_once)


def test_frames_come_in_fours_from_chunks_too(vae: Any, latents: Any) -> None:
    from plugins.wan.generate.decode import pixels

    assert [len(chunk) for chunk in pixels(quick(vae, "chunks"), latents, lambda _: None)] == [1, 4, 4, 4, 4, 4, 4]


def test_on_a_cpu_the_classes_for_a_gpu_are_diffusers_own_bit_for_bit(vae: Any, latents: Any, clip: Any) -> None:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm

    from plugins.wan.vae.twin import twin
    from plugins.wan.vae.vae_gpu import FusedNorm, PaddedCausalConv3d, fuse_silu

    ours = twin(vae)
    for module in ours.modules():
        module.__class__ = {WanRMS_norm: FusedNorm, WanCausalConv3d: PaddedCausalConv3d}.get(type(module), type(module))
    fuse_silu(ours)

    assert not any(isinstance(getattr(module, "nonlinearity", None), torch.nn.SiLU) for module in ours.modules())
    assert any(isinstance(module, FusedNorm) and not module.silu for module in ours.modules())  # before attention
    with torch.no_grad():
        assert torch.equal(ours.decode(latents).sample, vae.decode(latents).sample)
        assert torch.equal(ours.encode(clip).latent_dist.mean, vae.encode(clip).latent_dist.mean)


@pytest.mark.parametrize("without", ["encoder", "decoder"])
def test_each_half_of_a_vae_tries_the_kernels_on_what_it_has(vae: Any, without: str) -> None:
    """For images the encoder is loaded without its decoder."""
    import torch

    from plugins.wan.tuning.autotune import APART, Autotuner
    from plugins.wan.vae.vae_gpu import replacements

    setattr(vae, without, None)
    tried: list[str] = []

    class Plain(Autotuner):
        """Runs PyTorch's way for both: the kernels need a GPU."""

        def agrees(self, case: str, make: Any) -> bool:
            ways = make()
            tried.append(case)
            assert torch.isfinite(ways[APART]()).all()
            return super().agrees(case, lambda: dict.fromkeys(ways, ways[APART]))

    with torch.no_grad():
        assert len(replacements(vae, Switches(), Plain(lambda _: 1.0))) == 2
    assert len(tried) == 2


@pytest.mark.parametrize(("same", "count"), [(True, 2), (False, 0)])
def test_what_gives_the_same_takes_the_others_place_on_a_gpu(vae: Any, same: bool, count: int) -> None:
    import torch

    from plugins.wan.tuning.autotune import Autotuner
    from plugins.wan.vae.vae_gpu import replacements

    class Told(Autotuner):
        """Runs nothing: what it is given runs on a GPU alone."""

        def agrees(self, case: str, make: Any) -> bool:
            one, other = (torch.full((1,), value) for value in (1.0, 1.0 if same else 2.0))
            plain, fused = make()
            return super().agrees(case, lambda: {plain: lambda: one, fused: lambda: other})

    assert len(replacements(vae, Switches(), Told(lambda _: 1.0))) == count
    assert replacements(vae, OFF, Told(lambda _: 1.0)) == {}
