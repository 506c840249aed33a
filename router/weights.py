"""Where a model's weights are, whether they are all there, and how they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nano
from registry import ModelSpec
from registry.families import EMBEDDED
from registry.source import is_hub_id
from router.download import snapshot
from router.errors import DownloadFailed, ModelUnavailable

INDEX = "model_index.json"


class Weights:
    """The folders of models: local ones, the hub's cache, and the family that comes with the package."""

    def __init__(self, data: Path) -> None:
        self._nano = data / f"nano-{nano.VERSION}"

    def locate(self, model: ModelSpec) -> Path | None:
        """Return the folder that holds the model's weights, None if there is none on this machine."""
        if model.source is None:
            return None
        if model.source.startswith(EMBEDDED):
            return self._nano / model.source.removeprefix(EMBEDDED)
        if Path(model.source).is_absolute():
            return Path(model.source) if Path(model.source, INDEX).is_file() else None
        return cached(model.source, model.revision)

    def state(self, model: ModelSpec) -> str:
        """Say in one word where the weights are: none, embedded, here, incomplete or missing."""
        if model.source is None:
            return "none"
        if model.source.startswith(EMBEDDED):
            return "embedded"
        folder = self.locate(model)
        if folder is None:
            return "missing"
        return "incomplete" if lacking(folder) else "here"

    def check(self, model: ModelSpec) -> None:
        """Raise `ModelUnavailable`, naming the command that helps, when weights lack and may not be fetched."""
        state = self.state(model)
        if state in ("none", "embedded", "here") or (model.download and is_hub_id(model.source)):
            return
        raise ModelUnavailable(_unavailable(model, state, self.locate(model)))

    def obtain(self, model: ModelSpec, report: Callable[[int, int], None]) -> Path | None:
        """Return the folder with the weights: make the embedded family, fetch what may be fetched.

        Raises `DownloadFailed`. `report(done, total)` counts bytes.
        """
        if model.source is None:
            return None
        if model.source.startswith(EMBEDDED):
            from nano.make import make_family

            make_family(self._nano)
        elif self.state(model) != "here":
            if not model.download or not is_hub_id(model.source):
                raise DownloadFailed(_unavailable(model, self.state(model), self.locate(model)))
            return snapshot(model.source, model.revision, report)
        return self.locate(model)


def lacking(folder: Path) -> tuple[str, ...]:
    """Return the files that a diffusers folder names and does not have."""
    index = json.loads((folder / INDEX).read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and len(value) == 2 and value[0]]
    return tuple(missing for part in parts for missing in _lacking_part(folder, part))


def _lacking_part(folder: Path, part: str) -> list[str]:
    if not (folder / part).is_dir() or not any((folder / part).iterdir()):
        return [f"{part}/"]
    shards = {
        shard
        for listing in (folder / part).glob("*.safetensors.index.json")
        for shard in json.loads(listing.read_text())["weight_map"].values()
    }
    broken = [path.name for path in (folder / part).iterdir() if not path.exists()]
    return [f"{part}/{name}" for name in sorted({*broken, *(s for s in shards if not (folder / part / s).exists())})]


def cached(repo: str, revision: str | None) -> Path | None:
    """Return the snapshot of a hub repository in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, INDEX, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _unavailable(model: ModelSpec, state: str, folder: Path | None) -> str:
    lack = f"{model.name} needs weights from {model.source}"
    if state == "incomplete" and folder is not None:
        first, *rest = lacking(folder)
        lack += f", of which {first}" + (f" and {len(rest)} more files" if rest else "") + " are missing"
    else:
        lack += ", which are not on this machine"
    if not is_hub_id(model.source):
        return f"{lack}: a folder with {INDEX} was needed there"
    return f"{lack}: fetch them with 'framegate pull {model.name}', or set 'download: true' in its entry"
