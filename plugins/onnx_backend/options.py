"""The `options` of an `onnxruntime` model."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import fields, validate

from plugins.wan.options import CommonOptions
from plugins.wan.tuning.switches import Switches
from router import ModelSpec

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")


class OnnxOptions(CommonOptions):
    """The execution provider of the graphs, and the common options."""

    provider = fields.String(load_default="auto", validate=validate.OneOf(PROVIDERS))


@dataclass(frozen=True)
class Options:
    """The options of one model; the schema's defaults stand for those left out."""

    provider: str
    prompt_cache_bytes: int
    decoder_dtype: str
    fast: Switches

    @classmethod
    def of(cls, model: ModelSpec) -> Options:
        loaded = OnnxOptions().load(dict(model.options))
        return cls(**loaded | {"fast": Switches.of(loaded["fast"])})
