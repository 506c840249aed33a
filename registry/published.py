"""The configurations of the published families' parts.

Sources: `get_transformer_config` and `get_vae` of diffusers' `scripts/convert_wan_to_diffusers.py`, and the
`config.json` of google/umt5-xxl and of laion/CLIP-ViT-H-14-laion2B-s32B-b79K, whose vision tower Wan 2.1 reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class PublishedPart:
    """A part's class, its configuration, and its name among all that is published.

    Parts of one `identity` have the same bytes.
    """

    identity: str
    class_name: str
    settings: Settings = field(compare=False, repr=False)


def _transformer(heads: int, layers: int, ffn: int, **others: int | None) -> Settings:
    shared = {"attention_head_dim": 128, "in_channels": 16, "out_channels": 16, "text_dim": 4096, "freq_dim": 256}
    return {"num_attention_heads": heads, "num_layers": layers, "ffn_dim": ffn, **shared, **others}


_14B = _transformer(40, 40, 13824)
_WITH_IMAGE = {**_14B, "in_channels": 36}  # the latents, a mask, and those of the image
_WITH_CLIP = {**_WITH_IMAGE, "image_dim": 1280, "added_kv_proj_dim": 5120}
_TRANSFORMERS: Mapping[str, Settings] = {
    "wan2.1-t2v-14b": _14B,
    "wan2.1-t2v-1.3b": _transformer(12, 30, 8960),
    "wan2.1-i2v-14b-480p": _WITH_CLIP,
    "wan2.1-i2v-14b-720p": _WITH_CLIP,
    "wan2.1-flf2v-14b-720p": {**_WITH_CLIP, "pos_embed_seq_len": 514},  # CLIP's tokens of two images
    "wan2.2-t2v-a14b": _14B,
    "wan2.2-i2v-a14b": _WITH_IMAGE,
    "wan2.2-ti2v-5b": _transformer(24, 30, 14336, in_channels=48, out_channels=48),
}
_TEXT_ENCODER = PublishedPart(
    "umT5-XXL",
    "UMT5EncoderModel",
    {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 256384},
)
_IMAGE_ENCODER = PublishedPart(
    "CLIP ViT-H",
    "CLIPVisionModel",
    {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
     "image_size": 224, "patch_size": 14},
)  # fmt: skip
_VAE_2_1 = PublishedPart("VAE 2.1", "AutoencoderKLWan", {"base_dim": 96, "z_dim": 16})
_VAE_2_2 = PublishedPart(
    "VAE 2.2",
    "AutoencoderKLWan",
    {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "in_channels": 12, "out_channels": 12, "patch_size": 2,
     "is_residual": True, "scale_factor_spatial": 16},
)  # fmt: skip


def parts_of(family: str, experts: int) -> Mapping[str, PublishedPart]:
    """Return the parts with weights of a published family, none for an embedded one."""
    transformer = _TRANSFORMERS.get(family)
    if transformer is None:
        return MappingProxyType({})
    names = ("transformer", "transformer_2")[:experts]
    found = {name: PublishedPart(f"{family} {name}", "WanTransformer3DModel", transformer) for name in names}
    found["text_encoder"] = _TEXT_ENCODER
    if transformer.get("image_dim"):
        found["image_encoder"] = _IMAGE_ENCODER
    found["vae"] = _VAE_2_2 if transformer["in_channels"] == _VAE_2_2.settings["z_dim"] else _VAE_2_1
    return MappingProxyType(found)
