"""The files of a model's adapters: embedded, local, or in the hub's cache."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from nano.adapters import FOLDER
from nano.family import WEIGHTS
from registry import Adapter, ModelSpec, PerExpert, adapter_files
from registry.families import EMBEDDED
from registry.folders import absent
from registry.source import is_hub_id
from router.catalog.download import Selection, fetching, snapshot
from router.errors import DownloadFailed, ModelUnavailable

DOWNLOADING = "downloading"
READY = ("embedded", "here")
Report = Callable[[int, int], None]


def state(adapter: Adapter) -> str:
    """Return embedded, here, missing, incomplete, broken or `downloading 42 %`.

    Broken files cannot be read as weights.
    """
    folder = _folder(adapter)
    errors = adapter_files.refusals(adapter, folder) if folder else []
    if folder is not None and not errors:
        return "embedded" if adapter.source.startswith(EMBEDDED) else "here"
    if any(not error.missing for error in errors):
        return "broken"
    if is_hub_id(adapter.source) and (now := fetching(adapter.source)) is not None:
        return f"{DOWNLOADING} {now.percent} %"
    is_absent = folder is None or all(absent(folder / file) for file in adapter.file_names)
    return "missing" if is_absent else "incomplete"


def check(model: ModelSpec, names: Iterable[str]) -> None:
    """Raise `ModelUnavailable` for an adapter whose files no engine could obtain."""
    for adapter in _named(model, names):
        if problem := _problem(model, adapter):
            raise ModelUnavailable(problem)


def obtain(model: ModelSpec, names: Iterable[str], report: Report, stall_seconds: float) -> ModelSpec:
    """Return the model with the `paths` of the named adapters, downloaded if allowed.

    Raises `DownloadFailed`, `DiskFull`.
    """
    found = {adapter.name: _obtain(model, adapter, report, stall_seconds) for adapter in _named(model, names)}
    return replace(model, adapters=tuple(found.get(each.name, each) for each in model.adapters))


def _obtain(model: ModelSpec, adapter: Adapter, report: Report, stall_seconds: float) -> Adapter:
    if problem := _problem(model, adapter):
        raise DownloadFailed(problem)
    if state(adapter) not in READY:
        snapshot(adapter.source, adapter.revision, report, stall_seconds, Selection(adapter.file_names))
    if (folder := _folder(adapter)) is None:
        raise DownloadFailed(f"the files of {model.name}'s adapter {adapter.name} have gone again")
    high, low = (None if file is None else folder / file for file in adapter.files)
    return replace(adapter, paths=PerExpert(high, low))


def _named(model: ModelSpec, names: Iterable[str]) -> Iterator[Adapter]:
    known = {adapter.name: adapter for adapter in model.adapters}
    for name in names:
        if name not in known:
            raise DownloadFailed(f"{model.name} has no adapter {name!r}: it has {', '.join(known) or 'none'}")
        yield known[name]


def _problem(model: ModelSpec, adapter: Adapter) -> str | None:
    """Return why an adapter's files cannot be obtained, with an advice."""
    now = state(adapter)
    remote = is_hub_id(adapter.source)
    if now in READY or (model.download and remote and now != "broken"):
        return None
    lack = f"{model.name} needs the files of its adapter {adapter.name}"
    folder = _folder(adapter)
    errors = adapter_files.refusals(adapter, folder) if folder else []
    if now == "broken":
        reasons = "; ".join(error.reason for error in errors if not error.missing)
        return f"{lack}, which cannot be read: {reasons}"
    if now.startswith(DOWNLOADING):
        return f"{lack}, which are on their way ({now}): try again when they are here"
    lack += ", which are not on this machine" if now == "missing" else ", which are not whole"
    if now == "incomplete" and errors:
        lack += f" ({errors[0].reason})"
    if remote:
        return f"{lack}: fetch them with 'framegate pull {model.name}', or set 'download: true' in its entry"
    return f"{lack}: 'framegate check' names the paths"


def _folder(adapter: Adapter) -> Path | None:
    if adapter.source.startswith(EMBEDDED):
        return WEIGHTS / FOLDER / adapter.source.removeprefix(EMBEDDED).partition("/")[0]
    return adapter_files.folder(adapter)
