"""The tensors of a configuration are those of the real classes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from support import tiny, weight_files
from transformers import CLIPVisionModelWithProjection, UMT5Config, UMT5EncoderModel

from nano import parts
from registry.folders.expected import expected

pytestmark = pytest.mark.slow
TIED = "encoder.embed_tokens.weight"
CLIP: dict[str, Any] = {"in_channels": parts.I2V_CHANNELS, "image_dim": 32, "added_kv_proj_dim": 128}
UMT5 = {"vocab_size": 64, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 2}
LEVELS = {"base_dim": 4, "dim_mult": [1, 2, 2], "temperal_downsample": [True, False]}


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = module.state_dict()
    return {name.removeprefix("vision_model."): tuple(each.shape) for name, each in tensors.items() if name != TIED}


def settings(module: Any) -> dict[str, Any]:
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


@pytest.mark.parametrize(
    ("part", "build"),
    [
        ("transformer", parts.transformer),
        ("transformer_2", lambda: parts.transformer(parts.I2V_CHANNELS)),
        ("transformer", lambda: parts.transformer(**CLIP)),
        ("transformer", lambda: parts.transformer(**CLIP, pos_embed_seq_len=20)),
        ("transformer", lambda: parts.transformer(cross_attn_norm=False)),
        ("transformer", lambda: parts.transformer(qk_norm=None, patch_size=(1, 1, 2), out_channels=None)),
        ("text_encoder", parts.text_encoder),
        ("text_encoder", lambda: UMT5EncoderModel(UMT5Config(**UMT5, feed_forward_proj="relu"))),
        ("image_encoder", tiny.clip),
        ("image_encoder", lambda: CLIPVisionModelWithProjection(tiny.clip().config)),
        ("vae", parts.vae),
        ("vae", tiny.vae_of_2_1),
        ("vae", tiny.vae_of_2_2),
        ("vae", lambda: AutoencoderKLWan(base_dim=4, decoder_base_dim=8)),
        ("vae", lambda: AutoencoderKLWan(**LEVELS, num_res_blocks=3)),
        ("vae", lambda: AutoencoderKLWan(**LEVELS, num_res_blocks=2, is_residual=True, decoder_base_dim=8)),
    ],
)
def test_a_configuration_has_the_tensors_of_its_class(part: str, build: Callable[[], Any]) -> None:
    module = build()

    assert dict(expected(part, settings(module), type(module).__name__)) == shapes(module)


@pytest.mark.parametrize("changes", [{}, CLIP])
def test_our_files_of_a_transformer_are_spelt_as_diffusers_reads_them(changes: dict[str, Any]) -> None:
    state = parts.transformer(**changes).state_dict()

    converted = convert_wan_transformer_to_diffusers(weight_files.original_transformer(state, "model.diffusion_model."))

    assert converted.keys() == state.keys()


def test_our_files_of_a_vae_are_spelt_as_diffusers_reads_them() -> None:
    """Its converter knows the published counts of levels and blocks."""
    state = AutoencoderKLWan(base_dim=4).state_dict()

    assert convert_wan_vae_to_diffusers(weight_files.original_vae(state, 2, residual=False)).keys() == state.keys()
