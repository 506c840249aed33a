"""A trial of products in fp8 on the device, at load."""

import torch
from diffusers import WanTransformer3DModel

from plugins.wan.memory import brief, is_device_lost, is_out_of_memory
from plugins.wan.weights.device_format import FP8_PRODUCTS
from plugins.wan.weights.quantised.codes import Codes, dense, product
from plugins.wan.weights.quantised.layer import QuantisedLinear, weight_of
from router import LoadFailed

ROWS = 64
TOLERANCE = 5e-2  # relative, in the 2-norm: the rounding of the input to fp8 gives 2.6e-2


def require_fp8_products(transformer: WanTransformer3DModel) -> None:
    """Raise `LoadFailed` without weights in fp8, or without their products on the device."""
    layers = [each for each in transformer.modules() if isinstance(each, QuantisedLinear)]
    wanted = [layer for layer in layers if layer.format == FP8_PRODUCTS]
    if not wanted:
        raise LoadFailed("matmul fp8 needs weights in fp8: set weights: fp8, or bring a file in fp8 (e4m3)")
    weight = weight_of(wanted[0])
    assert isinstance(weight, Codes)
    try:
        reason = _difference(weight, wanted[0].dtype)
    except Exception as error:
        # a kernel may raise anything; but want of memory and a lost device are another matter
        if is_device_lost(error) or is_out_of_memory(error):
            raise
        reason = f"trying it gave {brief(error)}"
    if reason is not None:
        needed = "a GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell) and dtype bf16"
        raise LoadFailed(f"matmul fp8 needs {needed}; here {reason}")


@torch.no_grad()
def _difference(weight: Codes, dtype: torch.dtype) -> str | None:
    generator = torch.Generator("cpu").manual_seed(0)
    x = torch.randn(ROWS, weight.shape[1], generator=generator).to(weight.codes.device, dtype)
    exact = torch.nn.functional.linear(x.float(), dense(weight, torch.float32))
    off = float((product(x, weight).float() - exact).norm() / exact.norm())
    return None if off <= TOLERANCE else f"its numbers are {off:.2g} off"
