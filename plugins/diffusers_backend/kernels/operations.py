"""The kernels as custom operations, opaque to a compiler, each with a PyTorch version."""

import torch
from torch.nn import functional

from plugins.diffusers_backend.dit.rope import rotate

Tensors = tuple[torch.Tensor, torch.Tensor]


@torch.library.custom_op("framegate::norm_and_rope", mutates_args=(), device_types="cuda")
def norm_and_rope(
    x: torch.Tensor, weight: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, heads: int, epsilon: float
) -> torch.Tensor:
    from plugins.diffusers_backend.kernels import dit_kernels

    return dit_kernels.norm_and_rope(x, weight, cosines, sines, heads, epsilon)


@norm_and_rope.register_kernel("cpu")
def plain_norm_and_rope(
    x: torch.Tensor, weight: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, heads: int, epsilon: float
) -> torch.Tensor:
    """Return `x`, queries or keys, normed and rotated.

    `x` is `(b, tokens, d)`, the result `(b, tokens, heads, head)`.
    """
    normed = functional.rms_norm(x, x.shape[-1:], weight, epsilon)
    return rotate(normed.unflatten(2, (heads, -1)), (cosines, sines)).contiguous()


@norm_and_rope.register_fake
def _(x: torch.Tensor, weight: object, cosines: object, sines: object, heads: int, *_: object) -> torch.Tensor:
    return x.new_empty(*x.shape[:2], heads, x.shape[2] // heads)


@torch.library.custom_op("framegate::norm", mutates_args=(), device_types="cuda")
def norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float) -> torch.Tensor:
    from plugins.diffusers_backend.kernels import dit_kernels

    return dit_kernels.add_and_norm(x, None, None, weight, bias, epsilon)[1]


@norm.register_kernel("cpu")
def plain_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return the fp32 layer norm of `x` `(b, groups, n, d)`, by `(d,)` or `(groups, 1, d)`."""
    return torch.addcmul(bias, functional.layer_norm(x.float(), x.shape[-1:], eps=epsilon), weight).type_as(x)


@norm.register_fake
def _(x: torch.Tensor, *_: object) -> torch.Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("framegate::add", mutates_args=(), device_types="cuda")
def add(x: torch.Tensor, y: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    from plugins.diffusers_backend.kernels import dit_kernels

    return dit_kernels.add_and_norm(x, y, gate, None, None, 0.0)[0]


@add.register_kernel("cpu")
def plain_add(x: torch.Tensor, y: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Return `x + y * gate`, computed in fp32."""
    return torch.addcmul(x.float(), y.float(), gate).type_as(x)


@add.register_fake
def _(x: torch.Tensor, y: torch.Tensor, *_: object) -> torch.Tensor:
    return y.new_empty(y.shape)


@torch.library.custom_op("framegate::add_and_norm", mutates_args=(), device_types="cuda")
def add_and_norm(
    x: torch.Tensor,
    y: torch.Tensor,
    gate: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
) -> Tensors:
    from plugins.diffusers_backend.kernels import dit_kernels

    return dit_kernels.add_and_norm(x, y, gate, weight, bias, epsilon)


@add_and_norm.register_kernel("cpu")
def plain_add_and_norm(
    x: torch.Tensor,
    y: torch.Tensor,
    gate: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
) -> Tensors:
    """Return `x + y * gate`, or `x + y`, and the layer norm of that."""
    added = x + y if gate is None else plain_add(x, y, gate)
    return added, plain_norm(added, weight, bias, epsilon)


@add_and_norm.register_fake
def _(x: torch.Tensor, y: torch.Tensor, *_: object) -> Tensors:
    return y.new_empty(y.shape), y.new_empty(y.shape)
