"""Thin matrices beside a transformer's linear layers, to train and to save."""

from pathlib import Path

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

from nano import parts
from nano.adapters import DOWN, PREFIX, UP


class LowRank(nn.Module):
    """A weight plus the product of two thin matrices; the product starts at zero."""

    def __init__(self, weight: torch.Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def attach(model: WanTransformer3DModel, rank: int) -> None:
    """Freeze the model and give each of its linear layers two matrices to train."""
    model.requires_grad_(False)
    parts.seeded(5, lambda: _attach(model, rank))


def matrices(model: WanTransformer3DModel) -> dict[str, torch.Tensor]:
    """Return the trained matrices in fp16, by diffusers' names."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, LowRank):
            layer = PREFIX + name.removesuffix(".parametrizations.weight.0")
            found[f"{layer}.{DOWN}"] = module.down.detach().cpu().half().contiguous()
            found[f"{layer}.{UP}"] = module.up.detach().cpu().half().contiguous()
    return found


def save(model: WanTransformer3DModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(matrices(model), path)


def _attach(model: WanTransformer3DModel, rank: int) -> None:
    for module in list(model.modules()):
        if isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
