"""The adapters of one request: weights from the pool, and transformers with them."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plugins.wan.generate.cancel_watch import check_cancelled
from plugins.wan.load import Loaded
from plugins.wan.weights.adapters.file import stamp_of
from plugins.wan.weights.adapters.merge import EXPERTS, files_of
from plugins.wan.weights.adapters.weights import AdapterPart, AdapterWeights
from router import Adapter, GenerationFailed, LoadFailed, ModelSpec, Pool, Task, UsedAdapter

MOST_FILES = 64  # whose headers are kept


@contextmanager
def adapters(model: ModelSpec, loaded: Loaded, pipe: Any, task: Task) -> Iterator[tuple[str, ...]]:
    """Give `pipe` transformers with the adapters of `task` for the block.

    Yields notes for the caller. The loaded transformers stay as they are. Raises `LoadFailed` for a bad file.
    """
    by_name = {adapter.name: adapter for adapter in model.adapters if not adapter.merge}
    used = tuple((by_name[each.name], each) for each in task.adapters if each.name in by_name)
    if not used:
        yield ()
        return
    if loaded.paths is None:
        raise GenerationFailed(f"{model.backend} runs no adapters, {used[0][0].name} was to be used")
    names = [name for name in EXPERTS if name in loaded.parts and loaded.parts[name] is not None]
    files = {name: list(_files(loaded, name, used)) for name in names}
    notes = dict.fromkeys(
        f"adapter {part.adapter}: {part.file.note}" for parts in files.values() for part, _ in parts if part.file.note
    )
    with loaded.pool.borrow() as pool:
        keyed = {name: [(part, part.key(pool), strength) for part, strength in parts] for name, parts in files.items()}
        pool.reserve({key: part.nbytes for parts in keyed.values() for part, key, _ in parts})
        for name, parts in keyed.items():
            if weights := [(_weights(loaded, pool, part, key), strength) for part, key, strength in parts]:
                pipe.register_modules(**{name: loaded.paths.adapted(name, loaded.parts[name], weights)})
        yield tuple(notes)


def _files(
    loaded: Loaded, name: str, used: tuple[tuple[Adapter, UsedAdapter], ...]
) -> Iterator[tuple[AdapterPart, float]]:
    """Yield the file of each adapter for a transformer, and its strength."""
    for path, strength, adapter in files_of(used, name):
        yield _part(loaded, path, adapter, name), strength


def _part(loaded: Loaded, path: Path, adapter: str, name: str) -> AdapterPart:
    """Return a file for a transformer; a header is read once."""
    try:
        key = (path, stamp_of(path), adapter, name)
    except OSError as error:
        raise LoadFailed(f"the file of the adapter {adapter} cannot be read: {error.strerror}") from error
    if (known := loaded.adapter_files.get(key)) is None:
        while len(loaded.adapter_files) >= MOST_FILES:
            loaded.adapter_files.pop(next(iter(loaded.adapter_files)))
        known = AdapterPart.of(path, adapter, loaded.checkpoint.parts[name], loaded.placement)
        loaded.adapter_files[key] = known
    return known


def _weights(loaded: Loaded, pool: Pool, part: AdapterPart, key: Hashable) -> AdapterWeights:
    offloader = loaded.placement.offloader(part.part)
    return pool.part(key, lambda: part.read(lambda _: check_cancelled()), offloader)
