"""The family's adapters: files of thin matrices that change how a model draws."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nano.family import RECIPES, WEIGHTS

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

FOLDER = "adapters"  # in the folder of the weights
PREFIX = "transformer."  # diffusers' names begin with it, for either expert
DOWN, UP = "lora_A.weight", "lora_B.weight"
_EXPERTS = {"transformer": "high", "transformer_2": "low"}


def adapter_files(model: str, adapter: str, weights: Path = WEIGHTS) -> dict[str, Path]:
    """Return the files of an adapter by the folders of their transformers."""
    parts = RECIPES[model].transformers
    names = {part: f"{adapter}-{_EXPERTS[part]}" if len(parts) > 1 else adapter for part in parts}
    return {part: weights / FOLDER / model / f"{name}.safetensors" for part, name in names.items()}


def merge(transformer: "WanTransformer3DModel", path: Path) -> None:
    """Add the matrices of a file to the weights of a transformer."""
    import torch
    from safetensors.torch import load_file

    matrices = load_file(path)
    layers = {name: module for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)}
    for name in (key.removesuffix(f".{DOWN}") for key in matrices if key.endswith(DOWN)):
        product = matrices[f"{name}.{UP}"].float() @ matrices[f"{name}.{DOWN}"].float()
        with torch.no_grad():
            layers[name.removeprefix(PREFIX)].weight += product


def write_merged(folder: Path, model: Path, adapters: Sequence[Mapping[str, Path]]) -> None:
    """Write a model with merged adapters into `folder`; the parts without one become links."""
    import torch
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    changed = {part for files in adapters for part in files}
    for part in model.iterdir():
        if part.name not in changed:
            (folder / part.name).symlink_to(part.resolve())
            continue
        transformer = WanTransformer3DModel.from_pretrained(part, torch_dtype=torch.float32)
        for files in adapters:
            if part.name in files:
                merge(transformer, files[part.name])
        transformer.save_pretrained(folder / part.name)
