"""Custom operations of a Wan block, which `TRANSLATIONS` exports as one ONNX node each.

In torch each computes what diffusers computes, bit for bit. Without them the exporter writes many small nodes.
"""

from collections.abc import Callable
from typing import Any

import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from onnxscript import opset23 as op
from onnxscript.values import Op, Opset

CONTRIB = "com.microsoft"


@torch.library.custom_op("framegate::linear", mutates_args=())
def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return `x @ weight.T + bias` for `x` `(n, in)`: a Gemm, in torch's layout of weights."""
    return F.linear(x, weight, bias)


@torch.library.custom_op("framegate::modulated_norm", mutates_args=())
def modulated_norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the norm of `x` `(n, d)` times `scale` `(d,)` plus `shift` `(d,)`: one LayerNormalization."""
    return F.layer_norm(x, x.shape[-1:], None, None, eps) * scale + shift


@torch.library.custom_op("framegate::attention", mutates_args=())
def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Return softmax attention of `(1, n, heads * size)`, nothing masked."""
    # exported as the contrib operation: the standard one never runs on cuDNN's kernel, half as fast again on Hopper
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2).contiguous()


@linear.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@modulated_norm.register_fake
def _(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float) -> torch.Tensor:
    return torch.empty_like(x)


@attention.register_fake
def _(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    return torch.empty_like(query)


def _multi_head_attention() -> Op:
    """Return ONNX Runtime's contrib operation, which is unknown to onnxscript."""
    tensor = "T"
    schema = onnx.defs.OpSchema(
        "MultiHeadAttention",
        CONTRIB,
        1,
        inputs=[onnx.defs.OpSchema.FormalParameter(name, tensor) for name in ("query", "key", "value")],
        outputs=[onnx.defs.OpSchema.FormalParameter("output", tensor)],
        type_constraints=[(tensor, ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"], "")],
        attributes=[onnx.defs.OpSchema.Attribute("num_heads", onnx.defs.OpSchema.AttrType.INT, "", required=True)],
    )
    return Op(Opset(CONTRIB, 1), "MultiHeadAttention", schema)


_MULTI_HEAD_ATTENTION = _multi_head_attention()


def _to_gemm(x: Any, weight: Any, bias: Any) -> Any:
    return op.Gemm(x, weight, bias, transB=1)


def _to_layer_normalization(x: Any, scale: Any, shift: Any, eps: float) -> Any:
    return op.LayerNormalization(x, scale, shift, axis=-1, epsilon=eps)[0]


def _to_multi_head_attention(query: Any, key: Any, value: Any, heads: int) -> Any:
    return _MULTI_HEAD_ATTENTION(query, key, value, num_heads=heads)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.framegate.linear.default: _to_gemm,
    torch.ops.framegate.modulated_norm.default: _to_layer_normalization,
    torch.ops.framegate.attention.default: _to_multi_head_attention,
}
