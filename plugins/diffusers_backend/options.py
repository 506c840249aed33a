"""The `options` of a `diffusers` model."""

from dataclasses import dataclass

from marshmallow import fields, validate

from plugins.wan import options

DTYPES = ("auto", "bf16", "fp16", "fp32")
# diffusers' own names, without the quantising ones: these change the speed, not the arithmetic; flash_4 is ours
ATTENTION = (
    "auto", "native", "_native_cudnn", "_native_flash", "_native_efficient", "_native_math", "flash", "flash_hub",
    "_flash_3", "_flash_3_hub", "flash_4_hub", "flash_4", "flex", "xformers",
)  # fmt: skip


class DiffusersOptions(options.CommonOptions):
    """Number format, attention backend, group offload, and the common options."""

    dtype = fields.String(load_default="auto", validate=validate.OneOf(DTYPES))
    attention = fields.String(load_default="auto", validate=validate.OneOf(ATTENTION))
    group_offload = fields.Boolean(
        load_default=False, truthy={True}, falsy={False}, error_messages={"invalid": "must be true or false"}
    )


@dataclass(frozen=True)
class Options(options.Options):
    schema = DiffusersOptions
    dtype: str
    attention: str
    group_offload: bool
