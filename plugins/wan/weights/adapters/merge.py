"""Adapters that are part of a transformer's weights."""

import logging
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from plugins.wan.checkpoint import Part
from plugins.wan.weights.adapters.factors import beside
from plugins.wan.weights.adapters.weights import AdapterPart, Delta, total
from plugins.wan.weights.placement import Placement
from router import Adapter, LoadFailed, Pool, UsedAdapter

log = logging.getLogger(__name__)

EXPERTS = {"transformer": "high", "transformer_2": "low"}  # the fields of a `PerExpert`


@dataclass(frozen=True)
class MergedAdapters:
    """The adapters that a model always uses, each with its strength."""

    adapters: tuple[tuple[Adapter, UsedAdapter], ...]

    @classmethod
    def of(cls, adapters: tuple[Adapter, ...]) -> "MergedAdapters":
        return cls(tuple((each, UsedAdapter(each.name, *each.strength)) for each in adapters))

    def key(self, part: Part, pool: Pool) -> Hashable:
        """Return a value equal for equal changes to a part."""
        files = files_of(self.adapters, part.name)
        # peft's file beside it has factors
        return tuple((*map(pool.digest, (path, *beside(path))), strength) for path, strength, _ in files)

    def deltas(self, part: Part, placement: Placement) -> Mapping[str, Delta]:
        """Return the changes of a part's weights; raise `LoadFailed` for a bad file."""
        files = [
            (AdapterPart.of(path, name, part, placement), strength)
            for path, strength, name in files_of(self.adapters, part.name)
        ]
        for found, _ in files:
            if found.file.note:
                log.warning("adapter %s: %s", found.adapter, found.file.note)
        return total([found.read(lambda _: None).deltas(strength) for found, strength in files])


def files_of(adapters: tuple[tuple[Adapter, UsedAdapter], ...], part: str) -> Iterator[tuple[Path, float, str]]:
    """Yield the file of each adapter for a transformer, strength and name.

    Raises `LoadFailed` for an adapter without any file on this machine.
    """
    if part not in EXPERTS:
        return
    for adapter, used in adapters:
        path: Path | None = getattr(adapter.paths, EXPERTS[part])
        strength: float = getattr(used, EXPERTS[part])
        if not any(adapter.paths):
            raise LoadFailed(f"the adapter {adapter.name} has no file on this machine")
        if path is not None and strength:
            yield path, strength, adapter.name
