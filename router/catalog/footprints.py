"""The bytes of weights on disk and on devices, by their files' headers."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nano.family import WEIGHTS as PACKAGED
from registry import ModelSpec, folders, part_files
from registry.families import EMBEDDED
from registry.folders import INDEX, hub_cache
from router.catalog import disk_use
from router.catalog.disk_use import PartOnDisk
from router.catalog.weights import Weights
from router.plugins import Plugins
from router.runtime.byte_size import format_bytes


@dataclass(frozen=True)
class Footprint:
    """A model's parts on disk, and the planned bytes on devices."""

    on_disk: tuple[PartOnDisk, ...] = ()
    on_device: Mapping[str, int] = field(default_factory=dict)

    @property
    def devices(self) -> str:
        """The bytes on each device as text; empty if unknown."""
        return ", ".join(f"{format_bytes(size)} on {device}" for device, size in self.on_device.items())

    def __str__(self) -> str:
        return "; ".join(filter(None, [disk_use.listed(self.on_disk), self.devices]))


@dataclass
class _Known:
    """The parts on disk in one state of the files, and its plans."""

    stamp: object
    on_disk: tuple[PartOnDisk, ...]
    plans: dict[str, int | None] = field(default_factory=dict)


class Footprints:
    """Reads headers once for each state of a model's files.

    Safe to use from many threads.
    """

    def __init__(self, plugins: Plugins, weights: Weights) -> None:
        self._plugins = plugins
        self._weights = weights
        self._known: dict[str, _Known] = {}

    def of(self, model: ModelSpec, devices: Iterable[str]) -> Footprint:
        """Return a model's footprint on disk, and on its devices among `devices`.

        A device is left out if the bytes are unknown, as they are before the weights are here.
        """
        folder = self._weights.snapshot(model)
        if model.source is None or (folder is None and not model.parts):
            return Footprint()
        here, files = replace(model, folder=folder), part_files.paths(model.parts)
        stamp = here, folders.changed_at(folder or hub_cache.newest(model.source), files)
        known = self._known.get(model.name)
        if known is None or known.stamp != stamp:
            known = self._known[model.name] = _Known(stamp, _on_disk(here, files))
        wanted = [device for device in devices if model.may_run_on(device)]
        for device in wanted:
            if folder is not None and device not in known.plans:
                plan = self._plugins.plan(here, device)
                known.plans[device] = None if plan is None else plan.device_bytes
        plans = ((device, known.plans.get(device)) for device in wanted)
        return Footprint(known.on_disk, {device: size for device, size in plans if size is not None})


def _on_disk(model: ModelSpec, files: Mapping[str, Path]) -> tuple[PartOnDisk, ...]:
    roots = [model.folder] if model.folder is not None and os.path.isfile(model.folder / INDEX) else []
    source = model.source or ""
    if source.startswith(EMBEDDED):  # its links may not exist yet
        roots = [PACKAGED / source.removeprefix(EMBEDDED), PACKAGED / "shared"]
    return disk_use.read(roots, files, model.experts) if roots or files else ()
