"""What a model's `options` may say to this backend."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import fields, validate

from plugins.diffusers_backend.options import CommonOptions
from plugins.wan.tuning.switches import Switches
from router import ModelSpec

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")


class OnnxOptions(CommonOptions):
    """Options of an `onnxruntime` model: who runs its graphs, and the common ones."""

    provider = fields.String(load_default="auto", validate=validate.OneOf(PROVIDERS))


@dataclass(frozen=True)
class Options:
    """The same, as values; what a registry leaves out has the schema's defaults."""

    provider: str
    prompt_cache_bytes: int
    decoder_dtype: str
    fast: Switches

    @classmethod
    def of(cls, model: ModelSpec) -> Options:
        loaded = OnnxOptions().load(dict(model.options))
        return cls(**loaded | {"fast": Switches.of(loaded["fast"])})
