"""The `options` of a `diffusers` model."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import fields, validate

from plugins.wan.options import CommonOptions
from plugins.wan.tuning.switches import Switches
from router import ModelSpec

DTYPES = ("auto", "bf16", "fp16", "fp32")
# diffusers' own names, without the quantising ones: these change the speed, not the arithmetic; flash_4 is ours
ATTENTION = (
    "auto",
    "native",
    "_native_cudnn",
    "_native_flash",
    "_native_efficient",
    "_native_math",
    "flash",
    "flash_hub",
    "_flash_3",
    "_flash_3_hub",
    "flash_4_hub",
    "flash_4",
    "flex",
    "xformers",
)


class DiffusersOptions(CommonOptions):
    """Number format, attention backend, group offload, and the common options."""

    dtype = fields.String(load_default="auto", validate=validate.OneOf(DTYPES))
    attention = fields.String(load_default="auto", validate=validate.OneOf(ATTENTION))
    group_offload = fields.Boolean(
        load_default=False, truthy={True}, falsy={False}, error_messages={"invalid": "must be true or false"}
    )


@dataclass(frozen=True)
class Options:
    """The options of one model; the schema's defaults stand for those left out."""

    dtype: str
    attention: str
    group_offload: bool
    prompt_cache_bytes: int
    decoder_dtype: str
    fast: Switches

    @classmethod
    def of(cls, model: ModelSpec) -> Options:
        loaded = DiffusersOptions().load(dict(model.options))
        return cls(**loaded | {"fast": Switches.of(loaded["fast"])})
