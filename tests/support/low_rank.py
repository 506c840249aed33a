"""Makes adapters for a transformer, in the spelling of each trainer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from registry import Adapter, ModelSpec, PerExpert
from router import UsedAdapter

PROJECTIONS = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
ORIGINAL = {
    **{f"attn1.{ours}": f"self_attn.{theirs}" for ours, theirs in PROJECTIONS.items()},
    **{f"attn2.{ours}": f"cross_attn.{theirs}" for ours, theirs in PROJECTIONS.items()},
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "proj_out": "head.head",
}
Tensors = dict[str, torch.Tensor]
Pairs = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # `down` and `up` by diffusers' name of a layer


def pairs(model: Any, rank: int = 4, seed: int = 0, scale: float = 0.3, only: str = "") -> Pairs:
    """Return random products for the linear layers with `only` in their names."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for number, (name, layer) in enumerate(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and only in name:
            high, wide = layer.weight.shape
            size = rank + number % 3
            down = torch.randn(size, wide, generator=generator) / wide**0.5
            found[name] = down, torch.randn(high, size, generator=generator) * scale / size**0.5
    return found


def original(layer: str) -> str:
    """Return the name of a layer in Wan's repository."""
    if layer.startswith("blocks."):
        _, number, inner = layer.split(".", 2)
        return f"blocks.{number}.{ORIGINAL[inner]}"
    return ORIGINAL[layer]


def diffusers(found: Pairs, prefix: str = "transformer.") -> Tensors:
    return _named(found, lambda layer: prefix + layer, "lora_A.weight", "lora_B.weight")


def comfy(found: Pairs, prefix: str = "diffusion_model.", *, alpha: bool = True, peft: bool = False) -> Tensors:
    ends = ("lora_A.weight", "lora_B.weight") if peft else ("lora_down.weight", "lora_up.weight")
    return _named(found, lambda layer: prefix + original(layer), *ends, alpha=alpha)


def kohya(found: Pairs) -> Tensors:
    ends = "lora_down.weight", "lora_up.weight"
    return _named(found, lambda layer: "lora_unet_" + original(layer).replace(".", "_"), *ends, alpha=True)


def _named(found: Pairs, name: Callable[[str], str], down: str, up: str, alpha: bool = False) -> Tensors:
    tensors = {}
    for layer, (one, other) in found.items():
        tensors[f"{name(layer)}.{down}"] = one.contiguous()
        tensors[f"{name(layer)}.{up}"] = (other * (2 if alpha else 1)).contiguous()
        if alpha:  # half of the rank, so that the product is the same
            tensors[f"{name(layer)}.alpha"] = torch.tensor(len(one) / 2)
    return tensors


def write(path: Path, tensors: Tensors, dtype: torch.dtype = torch.float32, **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, path, metadata or None)
    return path


def adapter(path: Path, name: str = "style", low: Path | None = None, **fields: Any) -> Adapter:
    """Return the adapter of a file, or of one for each expert."""
    return Adapter(name, str(path), PerExpert("", ""), paths=PerExpert(path, low or path), **fields)


def having(model: ModelSpec, *adapters: Adapter) -> ModelSpec:
    return replace(model, adapters=adapters)


def use(*names: str, strength: float = 1.0) -> tuple[UsedAdapter, ...]:
    return tuple(UsedAdapter(name, strength, strength) for name in names)


def merge(model: Any, found: Pairs, strength: float = 1.0) -> None:
    """Add products to the weights of `model`, in place."""
    layers = dict(model.named_modules())
    for name, (down, up) in found.items():
        layers[name].weight.data += strength * (up @ down)
