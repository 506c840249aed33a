"""What a model's `options` may say to this backend."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import Schema, fields, validate

from router import ModelSpec

DTYPES = ("auto", "bf16", "fp16", "fp32")
# diffusers' own names, without the quantising ones: these change the speed, not the arithmetic
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
    "flex",
    "xformers",
)
PROMPT_CACHE_BYTES = 64 * 2**20  # 16 prompts of 512 x 4096 in bf16
MOST_CACHE_BYTES = 64 * 2**30


class DiffusersOptions(Schema):
    """Options of a `diffusers` model: number format, attention backend, bytes of prompt embeddings to keep."""

    dtype = fields.String(load_default="auto", validate=validate.OneOf(DTYPES))
    attention = fields.String(load_default="auto", validate=validate.OneOf(ATTENTION))
    prompt_cache_bytes = fields.Integer(
        load_default=PROMPT_CACHE_BYTES, strict=True, validate=validate.Range(min=0, max=MOST_CACHE_BYTES)
    )


@dataclass(frozen=True)
class Options:
    """The same, as values; what a registry leaves out has the schema's defaults."""

    dtype: str
    attention: str
    prompt_cache_bytes: int

    @classmethod
    def of(cls, model: ModelSpec) -> Options:
        return cls(**DiffusersOptions().load(dict(model.options)))
