"""Published models and clips at true size, and toys to check the code."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_TOKENS, OWN_TOKENS = 512, 60  # rows of a prompt, and of its own tokens; the rest is padding of zeros


@dataclass(frozen=True)
class Dit:
    """A transformer's configuration, a clip's latents `(frames, height, width)`, the wanted rate."""

    config: Mapping[str, Any]
    latents: tuple[int, int, int]
    wanted: float  # least share of the matrix rate, in percent

    @property
    def tokens(self) -> int:
        return math.prod(self.latents) // 4

    @property
    def width(self) -> int:
        return int(self.config["num_attention_heads"] * self.config["attention_head_dim"])

    @property
    def flop(self) -> float:
        blocks, wide = self.config["num_layers"], self.config["ffn_dim"]
        linear = 2 * self.tokens * blocks * (6 * self.width**2 + 2 * self.width * wide)
        text = 4 * blocks * self.width**2 * TEXT_TOKENS
        return linear + text + 4 * self.tokens * (self.tokens + TEXT_TOKENS) * self.width * blocks


@dataclass(frozen=True)
class Vae:
    """A VAE's configuration, and a clip's latents `(channels, frames, height, width)`."""

    config: Mapping[str, Any]
    latents: tuple[int, int, int, int]


@dataclass(frozen=True)
class Shapes:
    dits: Mapping[str, Dit]
    vaes: Mapping[str, Vae]
    small: tuple[int, int, int]  # latents of a clip small enough for guidance in one pass


def _dit(heads: int, head: int, wide: int, layers: int, channels: int, text: int = 4096) -> dict[str, Any]:
    return {
        "num_attention_heads": heads,
        "attention_head_dim": head,
        "ffn_dim": wide,
        "num_layers": layers,
        "in_channels": channels,
        "out_channels": channels,
        "text_dim": text,
        "freq_dim": 256,
    }


WAN_1_3B = _dit(12, 128, 8960, 30, 16)
WAN_5B = _dit(24, 128, 14336, 30, 48)
WAN_14B = _dit(40, 128, 13824, 40, 16)
VAE_2_2 = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}
TRUE = Shapes(
    {
        "1.3B, 832x480x81": Dit(WAN_1_3B, (21, 60, 104), 84),
        "5B, 1280x704x121": Dit(WAN_5B, (31, 44, 80), 86),
        "14B, 832x480x81": Dit(WAN_14B, (21, 60, 104), 88),
        "14B, 1280x720x81": Dit(WAN_14B, (21, 90, 160), 88),
    },
    {"VAE 2.1, 832x480x81": Vae({}, (16, 21, 60, 104)), "VAE 2.2, 1280x704x121": Vae(VAE_2_2, (48, 31, 44, 80))},
    (5, 30, 52),
)
SMALL_VAE = {"base_dim": 16, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1}
NO_FIGURES = "A CHECK OF THE CODE AT TOY SIZE, NO FIGURES"  # the title of figures at toy size
TOY = Shapes(
    {"toy": Dit(_dit(2, 32, 128, 3, 16, 64), (3, 8, 8), 0)},
    {
        "toy 2.1": Vae(SMALL_VAE, (16, 3, 4, 4)),
        "toy 2.2": Vae(VAE_2_2 | SMALL_VAE | {"decoder_base_dim": 16}, (48, 3, 4, 4)),
    },
    (2, 4, 4),
)
