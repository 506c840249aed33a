"""The published Wan variants: inputs, official defaults, size rules and limits.

Sources of the numbers: `wan/configs/*.py` and `generate.py` of Wan-Video/Wan2.1 and Wan2.2; repo ids and
the shift by resolution from diffusers' `docs/source/en/api/pipelines/wan.md`; limits are ours (API.md, section 5).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from registry.modality import Modality
from registry.models import Defaults, FlowShift, Limits

EMBEDDED = "embedded:"
PROMPT_TOKENS = 512  # wan/configs/shared_config.py: text_len; what follows in a prompt is not read

# wan/configs/shared_config.py: sample_neg_prompt
NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)


@dataclass(frozen=True)
class Family:
    """One variant; `repo` is None for embedded ones; `inner_dim` is the DiT's width.

    With 2 `experts` a high-noise and a low-noise DiT share the steps: `guidance_scale` is for the first,
    `guidance_scale_2` for the second; None copies the first.
    """

    name: str
    repo: str | None
    modality: Modality
    defaults: Defaults
    limits: Limits
    inner_dim: int
    size_multiple: int = 16  # VAE 2.1: 8 pixels a latent, 2 latents a patch
    experts: int = 1

    @property
    def source(self) -> str:
        """Return what a registry entry's `source` says to get this very variant."""
        return self.repo or EMBEDDED + self.name


# 832x480 wherever a variant was trained for both sizes: it is what diffusers' pipelines default to, and a
# 720p clip costs several times as much; who wants one asks for 1280x720 and gets the shift that goes with it.
_T2V = Defaults(
    width=832,
    height=480,
    num_frames=81,  # generate.py: --frame_num
    frames_per_second=16,  # shared_config.py: sample_fps
    steps=50,  # generate.py: --sample_steps, 40 for i2v
    guidance_scale=5.0,  # generate.py: --sample_guide_scale
    guidance_scale_2=None,
    flow_shift=FlowShift(small=3.0, large=5.0),  # diffusers' wan.md: 3.0 for 480p, 5.0 for 720p
    negative_prompt=NEGATIVE_PROMPT,
)
# wan_i2v_14B.py prepends "the camera shakes"
_I2V = replace(_T2V, steps=40, negative_prompt="镜头晃动，" + NEGATIVE_PROMPT)
_I2V_720P = replace(_I2V, width=1280, height=720)
_FLF2V = replace(
    _I2V_720P,
    steps=50,  # generate.py: 40 is for i2v alone
    guidance_scale=5.5,  # diffusers' wan.md
    flow_shift=FlowShift(small=16.0, large=16.0),  # generate.py: 16 for flf2v, whatever the size
    negative_prompt="镜头切换，" + _I2V.negative_prompt,  # configs/__init__.py prepends "the camera cuts"
)
_T2V_A14B = replace(  # wan_t2v_A14B.py; its pair of guidances is (low noise, high noise)
    _T2V, steps=40, guidance_scale=4.0, guidance_scale_2=3.0, flow_shift=FlowShift(small=12.0, large=12.0)
)
_I2V_A14B = replace(  # wan_i2v_A14B.py
    _T2V, steps=40, guidance_scale=3.5, guidance_scale_2=3.5, flow_shift=FlowShift(small=5.0, large=5.0)
)
_TI2V = replace(  # wan_ti2v_5B.py; SUPPORTED_SIZES has 1280x704 and 704x1280 only
    _T2V, width=1280, height=704, num_frames=121, frames_per_second=24, flow_shift=FlowShift(small=5.0, large=5.0)
)
_NANO = Defaults(
    width=64,
    height=64,
    num_frames=17,
    frames_per_second=8,
    steps=12,
    guidance_scale=3.0,
    guidance_scale_2=None,
    flow_shift=FlowShift(small=2.0, large=2.0),
    negative_prompt="",  # it draws nothing else than it was trained on: there is nothing to steer away from
)

_14B = Limits(pixels=1280 * 720, frames=121, steps=100)
_1_3B = Limits(pixels=1280 * 720, frames=161, steps=100)
_5B = Limits(pixels=1280 * 704, frames=161, steps=100)
_SMALL = Limits(pixels=128 * 128, frames=49, steps=60)

FAMILIES = (
    Family("wan2.1-t2v-14b", "Wan-AI/Wan2.1-T2V-14B-Diffusers", Modality.T2V, _T2V, _14B, 40 * 128),
    Family("wan2.1-t2v-1.3b", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", Modality.T2V, _T2V, _1_3B, 12 * 128),
    Family("wan2.1-i2v-14b-480p", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", Modality.I2V, _I2V, _14B, 40 * 128),
    Family("wan2.1-i2v-14b-720p", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", Modality.I2V, _I2V_720P, _14B, 40 * 128),
    Family("wan2.1-flf2v-14b-720p", "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", Modality.FLF2V, _FLF2V, _14B, 40 * 128),
    Family("wan2.2-t2v-a14b", "Wan-AI/Wan2.2-T2V-A14B-Diffusers", Modality.T2V, _T2V_A14B, _14B, 40 * 128, experts=2),
    Family("wan2.2-i2v-a14b", "Wan-AI/Wan2.2-I2V-A14B-Diffusers", Modality.I2V, _I2V_A14B, _14B, 40 * 128, experts=2),
    # VAE 2.2: 16 pixels a latent
    Family("wan2.2-ti2v-5b", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", Modality.TI2V, _TI2V, _5B, 24 * 128, size_multiple=32),
    # nano/parts.py
    Family("wan-nano-t2v", None, Modality.T2V, _NANO, _SMALL, 4 * 32, experts=2),
    Family("wan-nano-i2v", None, Modality.I2V, _NANO, _SMALL, 4 * 32, experts=2),
    Family("wan-nano-ti2v", None, Modality.TI2V, _NANO, _SMALL, 4 * 32),
)

_BY_NAME: Mapping[str, Family] = MappingProxyType({family.name: family for family in FAMILIES})
_BY_SOURCE: Mapping[str, Family] = MappingProxyType({family.source.lower(): family for family in FAMILIES})


def find(source_or_name: str) -> Family | None:
    """Return the family with this name, hub id or `embedded:NAME`, or None."""
    return _BY_NAME.get(source_or_name) or _BY_SOURCE.get(source_or_name.lower())


def stand_in(modality: Modality) -> Family:
    """Return the family with the defaults for unknown models of a modality."""
    return next(family for family in FAMILIES if family.modality is modality)
