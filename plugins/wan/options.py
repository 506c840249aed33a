"""Options that every backend of Wan takes."""

from dataclasses import dataclass
from typing import ClassVar, Self

from marshmallow import Schema, fields, validate

from plugins.wan.tuning.switches import FastField, Switches
from router import ModelSpec

DECODER_DTYPES = ("auto", "bf16", "fp32")
PROMPT_CACHE_BYTES = 64 * 2**20  # 16 prompts of 512 x 4096 in bf16
MAX_PROMPT_CACHE_BYTES = 64 * 2**30


class CommonOptions(Schema):
    """Bytes of the prompt cache, number format of the VAE's decoder, fast parts."""

    prompt_cache_bytes = fields.Integer(
        load_default=PROMPT_CACHE_BYTES, strict=True, validate=validate.Range(min=0, max=MAX_PROMPT_CACHE_BYTES)
    )
    decoder_dtype = fields.String(load_default="auto", validate=validate.OneOf(DECODER_DTYPES))
    fast = FastField(load_default=True)


@dataclass(frozen=True)
class Options:
    """The options of one model; the defaults of `schema` stand for those left out."""

    schema: ClassVar[type[Schema]]
    prompt_cache_bytes: int
    decoder_dtype: str
    fast: Switches

    @classmethod
    def of(cls, model: ModelSpec) -> Self:
        loaded = cls.schema().load(dict(model.options))
        return cls(**loaded | {"fast": Switches.of(loaded["fast"])})
