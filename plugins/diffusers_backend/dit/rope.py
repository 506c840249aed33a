"""Rotary position embedding by complex numbers or by cosines and sines, with equal bits."""

import torch

Rotation = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


def rotation(rope: torch.nn.Module, latents: torch.Tensor, as_complex: bool) -> Rotation:
    """Return the rotation of each token of `latents` `(1, c, t, h, w)`: `(1, tokens, 1, head / 2)`."""
    # complex numbers rotate in one pass where each operation is a kernel, in fp32; a compiler wants cosines and sines
    cosines, sines = rope(latents)
    cosines, sines = cosines[..., 0::2].contiguous(), sines[..., 1::2].contiguous()
    return torch.complex(cosines, sines) if as_complex else (cosines, sines)


def rotate(heads: torch.Tensor, by: Rotation) -> torch.Tensor:
    """Return queries or keys `(b, tokens, heads, head)` rotated by their positions."""
    pairs = heads.unflatten(-1, (-1, 2))
    if isinstance(by, torch.Tensor):
        return torch.view_as_real(torch.view_as_complex(pairs) * by).flatten(-2)
    cosines, sines = by
    x, y = pairs.unbind(-1)
    # stacked, not written to every other position: a compiler makes one kernel of it
    return torch.stack((x * cosines - y * sines, x * sines + y * cosines), dim=-1).flatten(-2).type_as(heads)
