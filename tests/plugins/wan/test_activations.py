"""The estimate of activations against the live tensors of the code that it describes."""

from dataclasses import replace
from typing import Any

import pytest

from plugins.wan.plans import activations
from plugins.wan.plans.activations import FRAMES, Phases
from registry.families import FAMILIES
from registry.published import parts_of

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from diffusers import AutoencoderKLWan, WanTransformer3DModel  # noqa: E402
from support.live_bytes import LiveBytes  # noqa: E402

from plugins.diffusers_backend.dit.network import Network  # noqa: E402
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps  # noqa: E402
from plugins.wan.generate.decode import decode_chunks  # noqa: E402
from plugins.wan.tuning.switches import Switches  # noqa: E402

WIDTH, HEIGHT, LATENT_FRAMES = 416, 240, 4
ITEMS = {torch.bfloat16: 2, torch.float32: 4}
VAES = {"2.1": "wan2.1-t2v-1.3b", "2.2": "wan2.2-ti2v-5b"}


def phases(family: str, dtype: Any, **transformer: int) -> Phases:
    parts = parts_of(family, 1)
    settings = {**parts["transformer"].settings, **transformer}
    item = ITEMS[dtype]
    return Phases(settings, parts["vae"].settings, parts["text_encoder"].settings, 1, 0, item, item)


@pytest.mark.parametrize("dtype", ITEMS, ids=str)
@pytest.mark.parametrize("version", VAES)
def test_decoding_is_estimated_within_a_tenth(version: str, dtype: Any) -> None:
    family = VAES[version]
    settings = parts_of(family, 1)["vae"].settings
    scale = settings.get("scale_factor_spatial", 8)
    with torch.device("meta"), torch.no_grad():
        vae = AutoencoderKLWan.from_config(dict(settings)).to(dtype).eval()
        latents = torch.empty(1, settings["z_dim"], LATENT_FRAMES, HEIGHT // scale, WIDTH // scale, dtype=dtype)
        with LiveBytes() as live:
            for _ in decode_chunks(vae, latents):
                pass

    assert phases(family, dtype)._decoding(WIDTH * HEIGHT) == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("version", VAES)
def test_encoding_is_estimated_within_a_tenth(version: str) -> None:
    family, frames = VAES[version], 1 + FRAMES * (LATENT_FRAMES - 1)
    with torch.device("meta"), torch.no_grad():
        vae = AutoencoderKLWan.from_config(dict(parts_of(family, 1)["vae"].settings)).eval()
        with LiveBytes() as live:
            video = torch.zeros(1, 3, frames, HEIGHT, WIDTH)
            vae.encode(video + 1)

    assert phases(family, torch.float32)._encoding(WIDTH * HEIGHT, frames) == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("ffn", [256, 1408, 3072], ids=["attention", "14B", "1.3B"])
@pytest.mark.parametrize("dtype", ITEMS, ids=str)
def test_denoising_is_estimated_from_above_within_a_sixth(dtype: Any, ffn: int) -> None:
    own = {"num_attention_heads": 4, "ffn_dim": ffn, "num_layers": 1, "text_dim": 64}
    estimate = phases("wan2.1-t2v-1.3b", dtype, **own)
    model = WanTransformer3DModel.from_config(dict(estimate.transformer)).to(dtype).eval()
    for name, weight in model.named_parameters():
        if not {*name.split(".")}.isdisjoint(model._keep_in_fp32_modules):
            weight.data = weight.data.float()
    # so large that each half of guidance is a forward pass
    latents = torch.randn(1, 16, LATENT_FRAMES, 40, 104, dtype=dtype)

    with torch.no_grad(), LiveBytes() as live:
        ready = Network(model, Switches(merged_padding=False), None).prepare(
            latents, torch.randn(1, 512, 64, dtype=dtype), 1
        )
        ready(latents, embed_timesteps(model, torch.tensor([5.0])))

    estimated = estimate._denoising(832 * 320, 1 + FRAMES * (LATENT_FRAMES - 1))
    assert live.peak <= estimated <= 1.17 * live.peak


@pytest.mark.parametrize("dtype", ITEMS, ids=str)
def test_encoding_a_text_is_estimated_from_above(dtype: Any) -> None:
    transformers = pytest.importorskip("transformers")
    own = {"d_model": 1024, "d_ff": 2560, "num_heads": 16, "num_layers": 2, "vocab_size": 100}
    estimate = replace(phases("wan2.1-t2v-1.3b", dtype), text_encoder=own)
    encoder = transformers.UMT5EncoderModel(transformers.UMT5Config(**own)).to(dtype).eval()
    tokens = torch.zeros(1, 512, dtype=torch.long)

    with torch.no_grad(), LiveBytes() as live:
        encoder(tokens, torch.ones_like(tokens))

    assert live.peak <= estimate._text() <= 1.7 * live.peak


@pytest.mark.parametrize("family", [family.name for family in FAMILIES if family.repo])
def test_a_text_is_the_largest_phase_of_no_published_model(family: str) -> None:
    estimate = phases(family, torch.bfloat16)

    assert estimate._text() < estimate(480, 272, 5)


def test_an_estimate_grows_with_the_size_and_the_frames() -> None:
    estimate = phases("wan2.1-t2v-14b", torch.bfloat16)

    assert estimate(832, 480, 81) < estimate(832, 480, 161) < estimate(1280, 720, 161)
    assert activations.BATCHED_TOKENS == pytest.importorskip("plugins.diffusers_backend.dit.network").MAX_BATCHED_TOKENS
