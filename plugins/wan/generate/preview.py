"""Previews: latents as a small picture, by a linear map from channels to colours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from registry.folders import FolderError
from registry.folders.files import read_json
from router import LoadFailed, Pixels

FILE = "latent_rgb.json"  # beside a VAE's weights: {"factors": [[r, g, b], ...], "bias": [r, g, b]}, for 0...1

# ComfyUI, latent_formats.py, Wan21; for latents in the transformer's scale, colours in -1...1
WAN_2_1 = (
    (-0.1299, -0.1692, 0.2932),
    (0.0671, 0.0406, 0.0442),
    (0.3568, 0.2548, 0.1747),
    (0.0372, 0.2344, 0.1420),
    (0.0313, 0.0189, -0.0328),
    (0.0296, -0.0956, -0.0665),
    (-0.3477, -0.4059, -0.2925),
    (0.0166, 0.1902, 0.1975),
    (-0.0412, 0.0267, -0.1364),
    (-0.1293, 0.0740, 0.1636),
    (0.0680, 0.3019, 0.1128),
    (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699),
    (0.0060, -0.0633, 0.0005),
    (0.3477, 0.2275, 0.2950),
    (0.1984, 0.0913, 0.1861),
)
WAN_2_1_BIAS = (-0.1835, -0.0868, -0.3360)
WAN_2_1_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075)  # the first of its `latents_mean`, which identify the VAE


@dataclass(frozen=True)
class LatentMap:
    """Colour = latent x `factors` `(z, 3)` + `bias` `(3,)`, in 0...1."""

    factors: torch.Tensor
    bias: torch.Tensor

    def picture(self, latents: torch.Tensor) -> Pixels:
        """Return the middle frame of latents `(1, z, t, h, w)` as `(h, w, 3)`."""
        middle = latents[0, :, latents.shape[2] // 2].float()
        colours = torch.einsum("zhw,zc->hwc", middle, self.factors.to(middle)) + self.bias.to(middle)
        return colours.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()


def latent_map(folder: Path, vae: Any) -> LatentMap | None:
    """Return the map of a VAE, or None; raise `LoadFailed` for a bad `latent_rgb.json`."""
    if (folder / FILE).is_file():
        return _read(folder / FILE, vae.config.z_dim)
    if tuple(vae.config.latents_mean[:4]) == WAN_2_1_MEAN and vae.config.z_dim == len(WAN_2_1):
        return LatentMap(torch.tensor(WAN_2_1) * 0.5, torch.tensor(WAN_2_1_BIAS) * 0.5 + 0.5)
    return None


def _read(file: Path, channels: int) -> LatentMap:
    try:
        known = read_json(file, f"{FILE} of vae")
        factors, bias = (torch.tensor(known[key], dtype=torch.float32) for key in ("factors", "bias"))
    except FolderError as error:
        raise LoadFailed(error.reason) from error
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise LoadFailed(f"{FILE} of vae must hold factors and bias, lists of numbers, it does not") from error
    if factors.shape != (channels, 3) or bias.shape != (3,):
        shapes = f"{tuple(factors.shape)} and {tuple(bias.shape)}"
        raise LoadFailed(f"{FILE} of vae must hold factors ({channels}, 3) and a bias (3,), got {shapes}")
    return LatentMap(factors, bias)
