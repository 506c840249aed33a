"""The `options` of an `onnxruntime` model."""

from dataclasses import dataclass

from marshmallow import fields, validate

from plugins.wan import options

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")


class OnnxOptions(options.CommonOptions):
    """The execution provider of the graphs, and the common options."""

    provider = fields.String(load_default="auto", validate=validate.OneOf(PROVIDERS))


@dataclass(frozen=True)
class Options(options.Options):
    schema = OnnxOptions
    provider: str
