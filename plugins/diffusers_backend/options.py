"""What a model's `options` may say to this backend."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import Schema, fields, validate

from plugins.wan.tuning.switches import FastField, Switches
from router import ModelSpec

DTYPES = ("auto", "bf16", "fp16", "fp32")
DECODER_DTYPES = ("auto", "bf16", "fp32")
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
PROMPT_CACHE_BYTES = 64 * 2**20  # 16 prompts of 512 x 4096 in bf16
MOST_CACHE_BYTES = 64 * 2**30


class CommonOptions(Schema):
    """What every backend takes that encodes prompts, and decodes latents, here.

    Bytes of prompts to keep, the number format of the VAE's decoder, fast parts to use.
    """

    prompt_cache_bytes = fields.Integer(
        load_default=PROMPT_CACHE_BYTES, strict=True, validate=validate.Range(min=0, max=MOST_CACHE_BYTES)
    )
    decoder_dtype = fields.String(load_default="auto", validate=validate.OneOf(DECODER_DTYPES))
    fast = FastField(load_default=True)


class DiffusersOptions(CommonOptions):
    """Options of a `diffusers` model.

    Number format, attention backend, whether the weights wait on the host, and the common ones.
    """

    dtype = fields.String(load_default="auto", validate=validate.OneOf(DTYPES))
    attention = fields.String(load_default="auto", validate=validate.OneOf(ATTENTION))
    group_offload = fields.Boolean(
        load_default=False, truthy={True}, falsy={False}, error_messages={"invalid": "must be true or false"}
    )


@dataclass(frozen=True)
class Options:
    """The same, as values; what a registry leaves out has the schema's defaults."""

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
