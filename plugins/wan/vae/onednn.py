"""The VAE's convolutions on a CPU by oneDNN.

For small ones in fp32 PyTorch takes a kernel of its own, "slow" by its name, at a fifth to a fifteenth of the rate.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch.nn import functional


class OneDnnConv2d(torch.nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not suits_onednn(input):
            return super().forward(input)
        if is_pointwise(self):
            return pointwise_product(input, self)
        return torch.ops.aten.mkldnn_convolution(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class OneDnnCausalConv3d(WanCausalConv3d):
    def forward(self, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
        if not suits_onednn(x):
            return super().forward(x, cache_x)
        if is_pointwise(self):
            return pointwise_product(x, self)
        width, _, height, _, past, _ = self._padding  # oneDNN pads the picture itself
        return torch.ops.aten.mkldnn_convolution(
            _with_past(x, cache_x, past), self.weight, self.bias, (0, height, width), self.stride, self.dilation, 1
        )


def suits_onednn(x: torch.Tensor) -> bool:
    """Say whether oneDNN can and should convolve `x`."""
    return (
        x.device.type == "cpu"
        and x.dtype is torch.float32
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()
    )


def is_pointwise(convolution: torch.nn.Conv2d | torch.nn.Conv3d) -> bool:
    """Say whether each output pixel depends on one input pixel alone."""
    return {*convolution.kernel_size, *convolution.stride, convolution.groups} == {1}


def pointwise_product(x: torch.Tensor, convolution: torch.nn.Conv2d | torch.nn.Conv3d) -> torch.Tensor:
    """Return a pointwise convolution of `x` `(b, c, ...)` by one product, channels last in memory."""
    return functional.linear(x.movedim(1, -1), convolution.weight.flatten(1), convolution.bias).movedim(-1, 1)


def _with_past(x: torch.Tensor, before: torch.Tensor | None, count: int) -> torch.Tensor:
    """Return `x` `(b, c, t, h, w)` after `count` frames: those `before` it, and zeros before these."""
    if count == 0:
        return x
    known = () if before is None else (before,)
    missing = count - sum(frames.shape[2] for frames in known)
    zeros = [x.new_zeros(*x.shape[:2], missing, *x.shape[3:])] if missing else []
    return torch.cat([*zeros, *known, x], dim=2)
