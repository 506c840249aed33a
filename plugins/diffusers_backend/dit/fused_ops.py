"""Norms, modulation, gated residuals and rotation between a block's products, fused if chosen."""

from typing import NamedTuple

import torch
from torch.nn import functional

from plugins.diffusers_backend.dit.rope import Rotation, rotate
from plugins.diffusers_backend.kernels import operations


class KernelConfig(NamedTuple):
    """Constants for all blocks of a pass; a compiler specialises on them."""

    heads: int
    epsilon: float
    attention: str  # the name of its backend
    fused_gelu: bool = False
    rope_kernel: bool = False
    norm_kernel: bool = False


class Affine(NamedTuple):
    """A norm's own weight and bias `(d,)`."""

    weight: torch.Tensor
    bias: torch.Tensor


def norm_modulate(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, kernels: KernelConfig) -> torch.Tensor:
    """Return the layer norm of `x` in fp32, then scaled and shifted.

    `x` is `(b, groups, n, d)`, `shift` and `scale` are `(groups, 1, d)`.
    """
    if kernels.norm_kernel:
        return operations.norm(x, 1 + scale, shift, kernels.epsilon)
    size = x.shape[-1:]
    if scale.shape[:-1].numel() == 1:  # for all tokens alike, as a norm's own weights are
        affine = (1 + scale).view(size), shift.view(size), kernels.epsilon
        return functional.layer_norm(x.float(), size, *affine).type_as(x)
    normed = functional.layer_norm(x.float(), size, eps=kernels.epsilon)
    return torch.addcmul(shift, normed, 1 + scale).type_as(x)


def residual(x: torch.Tensor, y: torch.Tensor, gate: torch.Tensor, kernels: KernelConfig) -> torch.Tensor:
    """Return `x + y * gate`, computed in fp32."""
    if kernels.norm_kernel:
        return operations.add(x, y, gate)
    return torch.addcmul(x.float(), y.float(), gate).type_as(x)


def residual_norm(
    x: torch.Tensor, y: torch.Tensor, gate: torch.Tensor, norm: Affine | None, kernels: KernelConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `x + y * gate` and its layer norm; without a norm, the sum twice."""
    if norm is not None and kernels.norm_kernel:
        return operations.add_and_norm(x, y, gate, norm.weight.float(), norm.bias.float(), kernels.epsilon)
    x = residual(x, y, gate, kernels)
    if norm is None:
        return x, x
    affine = norm.weight.float(), norm.bias.float(), kernels.epsilon
    return x, functional.layer_norm(x.float(), x.shape[-1:], *affine).type_as(x)


def residual_norm_modulate(
    x: torch.Tensor, y: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, kernels: KernelConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `x + y` and its layer norm, shifted and scaled."""
    if kernels.norm_kernel:
        return operations.add_and_norm(x, y, None, 1 + scale, shift, kernels.epsilon)
    x = x + y
    return x, norm_modulate(x, shift, scale, kernels)


def norm_and_rope(x: torch.Tensor, weight: torch.Tensor, by: Rotation, kernels: KernelConfig) -> torch.Tensor:
    """Return `x`, queries or keys, normed and rotated.

    `x` is `(b, tokens, d)`, the result `(b, tokens, heads, head)`.
    """
    if kernels.rope_kernel:
        return operations.norm_and_rope(x, weight, *by, kernels.heads, kernels.epsilon)
    normed = functional.rms_norm(x, x.shape[-1:], weight, kernels.epsilon)
    return rotate(normed.unflatten(2, (kernels.heads, -1)), by)
