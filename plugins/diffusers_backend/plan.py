"""The plan of a diffusers model, and options for less memory."""

from collections.abc import Iterator

from plugins.wan.plans.model_plan import DTYPE, GROUP_OFFLOAD, WEIGHTS, Change
from plugins.wan.plans.model_plan import plan as planned
from plugins.wan.plans.part_bytes import BYTES, FP32, Formats
from plugins.wan.plans.stored_formats import FP8, Q4
from router import ModelSpec, Plan

_ENCODER = {"text_encoder": FP8}
_Q4 = {"transformer": Q4, "transformer_2": Q4, **_ENCODER}


def plan(model: ModelSpec, device: str) -> Plan | None:
    """Return the plan of `model` on `device`, None if its parts are unknown."""
    return planned(model, device, changes=tuple(_changes(model, device)))


def _changes(model: ModelSpec, device: str) -> Iterator[Change]:
    """Yield changes that take less of the device, those of the best numbers first."""
    in_fp32 = BYTES[Formats.of(model.options, str(model.options.get(DTYPE)), device).dtype] == BYTES[FP32]
    half = {DTYPE: "bf16"} if in_fp32 else {}
    if half:
        yield Change(half)
    yield Change({**half, WEIGHTS: FP8})
    yield Change({**half, WEIGHTS: FP8}, _ENCODER)
    yield Change(half, _Q4)
    if device != "cpu":  # where the weights would be in the same memory
        yield Change({**half, GROUP_OFFLOAD: True})
        yield Change({**half, GROUP_OFFLOAD: True, WEIGHTS: FP8})
        yield Change({**half, GROUP_OFFLOAD: True}, _Q4)
