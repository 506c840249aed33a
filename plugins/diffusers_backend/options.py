"""The `options` of a `diffusers` model."""

from dataclasses import dataclass

from marshmallow import ValidationError, fields, validate, validates_schema

from plugins.wan import options
from plugins.wan.weights.device_format import AUTO, FP8, WEIGHTS

MATMUL = (AUTO, FP8)  # how the products of weights in fp8 are computed
DTYPES = ("auto", "bf16", "fp16", "fp32")
# diffusers' own names, without the quantising ones: these change the speed, not the arithmetic; flash_4 is ours
ATTENTION = (
    "auto", "native", "_native_cudnn", "_native_flash", "_native_efficient", "_native_math", "flash", "flash_hub",
    "_flash_3", "_flash_3_hub", "flash_4_hub", "flash_4", "flex", "xformers",
)  # fmt: skip


class DiffusersOptions(options.CommonOptions):
    """Number formats, attention backend, group offload, and the common options."""

    dtype = fields.String(load_default="auto", validate=validate.OneOf(DTYPES))
    weights = fields.String(load_default=AUTO, validate=validate.OneOf(WEIGHTS))
    matmul = fields.String(load_default=AUTO, validate=validate.OneOf(MATMUL))
    attention = fields.String(load_default="auto", validate=validate.OneOf(ATTENTION))
    group_offload = fields.Boolean(
        load_default=False, truthy={True}, falsy={False}, error_messages={"invalid": "must be true or false"}
    )

    @validates_schema
    def require_fp8_weights(self, found: dict[str, object], **_: object) -> None:
        if found["matmul"] == FP8 and found["weights"] not in (AUTO, FP8):
            raise ValidationError("fp8 is only for weights in fp8, got weights: " + str(found["weights"]), "matmul")


@dataclass(frozen=True)
class Options(options.Options):
    schema = DiffusersOptions
    dtype: str
    weights: str
    matmul: str
    attention: str
    group_offload: bool
