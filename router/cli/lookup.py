"""The lookup of a command's model by name, hub id or folder."""

from __future__ import annotations

import os
from dataclasses import replace

from registry import BrokenModel, ModelSpec, Route
from registry.source import is_hub_id
from router.errors import LoadFailed, UnknownModel
from router.settings import Settings
from router.system import assemble


def find_model(name: str) -> ModelSpec:
    """Return a model with its folder: a name, a hub id or a folder.

    The folder may belong to another backend than the model's. Nothing is downloaded: raises `UnknownModel`,
    `DownloadFailed` for missing weights and `LoadFailed` for broken ones.
    """
    settings = Settings.from_environ()
    system = assemble(settings, serving=False)
    registry = system.registries.poll()
    entry = registry.find(name)
    if entry is None and (os.path.isdir(name) or is_hub_id(name)):
        system = assemble(replace(settings, model=name), serving=False)
        entry = system.registries.poll().models[0]
    if isinstance(entry, BrokenModel):
        raise LoadFailed(str(entry.problem))
    if entry is None or isinstance(entry, Route):
        served = ", ".join(model.name for model in registry.models)
        what = f"{name} is a route" if entry else f"no model is called {name!r}"
        raise UnknownModel(f"{what}; the models file has {served}")
    return replace(entry, folder=system.weights.find(entry))
