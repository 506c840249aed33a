"""What a command is told about the model that it was given."""

from __future__ import annotations

import os
from dataclasses import replace

from registry import BrokenModel, ModelSpec, Route
from registry.source import is_hub_id
from router.errors import LoadFailed, UnknownModel
from router.settings import Settings
from router.system import assemble


def find_model(name: str) -> ModelSpec:
    """Return a model with the folder of its weights: one of the models file, or a hub id or folder that is none.

    The folder may be another backend's than the model's. Nothing is fetched: raises `UnknownModel`,
    `DownloadFailed` where the weights are not on this machine, and `LoadFailed` where they are broken.
    """
    settings = Settings.from_environ()
    system = assemble(settings, serving=False)
    registry = system.registries.poll()
    entry = registry.find(name)
    if entry is None and (os.path.isdir(name) or is_hub_id(name)):
        system = assemble(replace(settings, model=name), serving=False)
        entry = registry.models[0]
    if isinstance(entry, BrokenModel):
        raise LoadFailed(str(entry.problem))
    if entry is None or isinstance(entry, Route):
        served = ", ".join(model.name for model in registry.models)
        what = f"{name} is a route" if entry else f"no model is called {name!r}"
        raise UnknownModel(f"{what}; the models file has {served}")
    return replace(entry, folder=system.weights.find(entry))
