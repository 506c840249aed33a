"""Weights of models: folders, completeness and downloads."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Thread

import nano
from registry import Adapter, ModelSpec, folders, part_files
from registry.families import EMBEDDED
from registry.folders import INDEX
from registry.source import is_hub_id, public
from router.catalog import adapters, parts
from router.catalog.download import Selection, Snapshots, begun, fetching, snapshot
from router.errors import DownloadFailed, ModelUnavailable
from router.values import Backend, UsedAdapter


class Weights:
    """The folders of models: local, in the hub's cache, or embedded."""

    def __init__(self, data: Path, backends: Mapping[str, Backend], stall_seconds: float = 900.0) -> None:
        self._nano = data / f"nano-{nano.VERSION}"
        self._backends = backends
        self._stall_seconds = stall_seconds
        self._snapshots = Snapshots()

    def locate(self, model: ModelSpec) -> Path | None:
        """Return the folder of the model's weights, None if absent or unsuited."""
        folder = self._folder(model)
        return folder if folder is not None and self._suits(folder, self._backends[model.backend]) else None

    def snapshot(self, model: ModelSpec) -> Path | None:
        """Return the folder of a model's files, complete or not, without the hub's client."""
        # cheap enough for every request
        if model.source is not None and is_hub_id(model.source):
            return folders.hub_cache.snapshot(model.source, model.revision)
        return self._folder(model)

    def look_ahead(self, models: Iterable[ModelSpec]) -> Thread | None:
        """Query the hub's cache for `models` in a thread."""
        # the first query takes over a second
        hub = [model for model in models if model.source and is_hub_id(model.source)]
        if not any(self._snapshots.has(str(model.source)) for model in hub):
            return None
        looking = Thread(target=lambda: [self._folder(model) for model in hub], name="weights", daemon=True)
        looking.start()
        return looking

    def state(self, model: ModelSpec) -> str:
        """Return none, embedded, here, missing, incomplete, unsuited or `downloading 42 %`.

        Unsuited weights are of another backend. Any process on this machine may be downloading.
        """
        here = self._state(model)
        if here not in ("incomplete", "missing"):
            return here
        now = next(filter(None, map(fetching, parts.repositories(model))), None)
        return here if now is None else f"{adapters.DOWNLOADING} {now.percent} %"

    def _state(self, model: ModelSpec) -> str:
        if model.source is None:
            return "none"
        folder = self._folder(model)
        if folder is None or not self._is_there(folder):
            is_begun = (folder is None and begun(model.source)) or any(map(parts.is_here, model.parts.values()))
            return "incomplete" if is_begun else "missing"
        if not self._suits(folder, self._backends[model.backend]):
            return "unsuited"
        if model.source.startswith(EMBEDDED):
            return "embedded"
        return "incomplete" if self._lack(model, folder) else "here"

    def find(self, model: ModelSpec) -> Path | None:
        """Return the folder for any backend, never downloading; raise `DownloadFailed` if it is absent."""
        if model.source is None:
            return None
        folder = self._folder(model)
        if folder is not None and self._is_embedded(folder):
            self._link()
        elif folder is None or not os.path.isdir(folder) or self._lack(model, folder):
            state = "incomplete" if folder and os.path.isdir(folder) else "missing"
            raise DownloadFailed(self._unavailable(model, state))
        return folder

    def engines(self, model: ModelSpec) -> tuple[str, ...]:
        """Return the backends able to run the weights here, the model's own first."""
        if (folder := self._folder(model)) is None or not self._is_there(folder):
            return (model.backend,) if model.source is None else ()
        able = [
            backend.name
            for backend in self._backends.values()
            if (backend.index or backend.name == model.backend)
            and (backend.index == INDEX or not model.parts)
            and model.modality in backend.modalities
            and self._suits(folder, backend)
        ]
        return tuple(sorted(able, key=lambda name: name != model.backend))

    def _link(self) -> None:
        from nano.family import link_family

        link_family(self._nano)

    def _folder(self, model: ModelSpec) -> Path | None:
        """Return the folder of the weights, existing or not; None before a download."""
        if model.source is None:
            return None
        if model.source.startswith(EMBEDDED):
            return self._nano / model.source.removeprefix(EMBEDDED)
        if not is_hub_id(model.source):
            return Path(model.source)
        return self._snapshots.find(model.source, model.revision, Selection(without=tuple(model.parts)))

    def _lack(self, model: ModelSpec, folder: Path) -> str | None:
        return folders.missing(folder, part_files.paths(model.parts))

    def _is_there(self, folder: Path) -> bool:
        return self._is_embedded(folder) or os.path.isdir(folder)  # False, not an error, without permission

    def _suits(self, folder: Path, backend: Backend) -> bool:
        if self._is_embedded(folder):  # its links may not exist yet
            return backend.index in (None, INDEX)
        return os.path.exists(folder / (backend.index or ""))

    def _is_embedded(self, folder: Path) -> bool:
        return folder.parent == self._nano

    def lack(self, model: ModelSpec) -> str | None:
        """Return why no job of a model can run on this machine, or None."""
        try:
            self.check(model)
            always = [each for each in model.adapters if each.merge or each.name in model.default_adapters]
            adapters.check(model, [adapter.name for adapter in always])
        except ModelUnavailable as error:
            return error.message
        return None

    def check(self, model: ModelSpec) -> None:
        """Raise `ModelUnavailable` with the helpful command for missing weights without `download`."""
        state = self.state(model)
        if state in ("none", "embedded", "here"):
            return
        if state != "unsuited" and model.download and self.is_fetchable(model):
            return
        raise ModelUnavailable(self._unavailable(model, state))

    def obtain(self, model: ModelSpec, report: Callable[[int, int], None]) -> Path | None:
        """Return the folder of the weights: link embedded ones, download if allowed.

        Raises `DownloadFailed`, `DiskFull`. `report(done, total)` gets bytes; its exceptions stop the download.
        """
        if model.source is None:
            return None
        state = self.state(model)
        if state == "embedded":
            self._link()
        elif state == "unsuited" or (state != "here" and not (model.download and self.is_fetchable(model))):
            raise DownloadFailed(self._unavailable(model, state))
        elif state != "here":
            parts.obtain(model.parts, report, self._stall_seconds)
            if is_hub_id(model.source) and self._state(model) != "here":
                left_out = Selection(without=tuple(model.parts))
                return snapshot(model.source, model.revision, report, self._stall_seconds, left_out)
        return self.locate(model)

    def is_fetchable(self, model: ModelSpec) -> bool:
        """Return whether downloads could bring all files of a model that are not here."""
        if any(not file.file and not parts.is_here(file) for file in model.parts.values()):
            return False
        if model.source is None:
            return False
        return is_hub_id(model.source) or parts.may_arrive(Path(model.source), model.parts)

    def adapter_state(self, model: ModelSpec, adapter: Adapter) -> str:
        """Return embedded, here, missing, incomplete, broken or `downloading 42 %`."""
        return adapters.state(adapter)

    def check_adapters(self, model: ModelSpec, used: Iterable[UsedAdapter]) -> None:
        """Raise `ModelUnavailable` with the helpful command for missing files without `download`."""
        adapters.check(model, [adapter.name for adapter in used])

    def obtain_adapters(self, model: ModelSpec, names: Iterable[str], report: Callable[[int, int], None]) -> ModelSpec:
        """Return the model with `paths` of the named adapters, as `obtain` does its folder."""
        return adapters.obtain(model, names, report, self._stall_seconds)

    def _unavailable(self, model: ModelSpec, state: str) -> str:
        sources = (model.source, *(file.source for file in model.parts.values()))
        *others, last = dict.fromkeys(str(public(source)) for source in sources)
        lack = f"{model.name} needs weights from {' and '.join(filter(None, (', '.join(others), last)))}"
        backend = self._backends[model.backend]
        if state == "unsuited":
            made = f": '{backend.made_by}' makes such a folder" if backend.made_by else ""
            return f"{lack} in a folder with {backend.index}, by which {backend.name} knows its models{made}"
        folder = self._folder(model)
        if state == "incomplete" and folder is not None:
            lack += f", which are not whole ({self._lack(model, folder)})"
        elif state == "incomplete":
            lack += ", which are not all on this machine"
        elif state.startswith(adapters.DOWNLOADING):
            return f"{lack}, which are on their way ({state}): try again when they are here"
        else:
            lack += ", which are not on this machine"
        if not self.is_fetchable(model):
            return f"{lack}: {'every file of them' if model.parts else 'a whole folder of weights'} is needed there"
        return f"{lack}: fetch them with 'framegate pull {model.name}', or set 'download: true' in its entry"
