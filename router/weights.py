"""Where a model's weights are, whether they are all there, and how they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import nano
from registry import ModelSpec
from registry.families import EMBEDDED
from registry.source import is_hub_id
from router.download import WANTED, snapshot
from router.errors import DownloadFailed, ModelUnavailable
from router.values import Backend

INDEX = "model_index.json"
WEIGHTS = (".safetensors", ".onnx", ".bin", ".pt", ".pth", ".ckpt")  # the pickles are a backend's to refuse


class Weights:
    """The folders of models: local ones, the hub's cache, and the family that comes with the package."""

    def __init__(self, data: Path, backends: Mapping[str, Backend]) -> None:
        self._nano = data / f"nano-{nano.VERSION}"
        self._backends = backends

    def locate(self, model: ModelSpec) -> Path | None:
        """Return the folder that holds the model's weights, None if there is none on this machine."""
        if model.source is None:
            return None
        if model.source.startswith(EMBEDDED):
            return self._nano / model.source.removeprefix(EMBEDDED)
        folder = cached(model.source, model.revision) if is_hub_id(model.source) else Path(model.source)
        index = self._backends[model.backend].index
        return folder if folder is not None and (folder / (index or "")).exists() else None

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
        """Return the folder with the weights: link the embedded family, fetch what may be fetched.

        Raises `DownloadFailed`. `report(done, total)` counts bytes.
        """
        if model.source is None:
            return None
        if model.source.startswith(EMBEDDED):
            from nano.family import link_family

            link_family(self._nano)
        elif self.state(model) != "here":
            if not model.download or not is_hub_id(model.source):
                raise DownloadFailed(_unavailable(model, self.state(model), self.locate(model)))
            return snapshot(model.source, model.revision, report)
        return self.locate(model)


def lacking(folder: Path) -> tuple[str, ...]:
    """Return the files that a diffusers folder names, or must have, and does not have; of another layout, none."""
    if not (folder / INDEX).is_file():
        return ()
    try:
        index = json.loads((folder / INDEX).read_bytes())
        parts = [name for name, value in index.items() if isinstance(value, list) and len(value) == 2 and value[0]]
        return tuple(missing for part in parts for missing in _lacking_part(folder / part))
    except (ValueError, AttributeError, KeyError):
        return (INDEX,)  # or the list of a part's shards: cut short, like everything after it


def _lacking_part(part: Path) -> list[str]:
    files = list(part.iterdir()) if part.is_dir() else []
    if not files:
        return [f"{part.name}/"]
    shards = {
        shard
        for listing in part.glob("*.index.json")
        for shard in json.loads(listing.read_bytes())["weight_map"].values()
    }
    broken = {path.name for path in files if not path.exists()} | {s for s in shards if not (part / s).exists()}
    has_weights = any(path.suffix in WEIGHTS for path in files)
    if (part / "config.json").exists() and not has_weights and not shards:
        broken.add(f"*{WEIGHTS[0]}")
    return [f"{part.name}/{name}" for name in sorted(broken)]


def cached(repo: str, revision: str | None) -> Path | None:
    """Return the snapshot of a hub repository in the local cache, None if it is not there or not whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(WANTED), local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _unavailable(model: ModelSpec, state: str, folder: Path | None) -> str:
    lack = f"{model.name} needs weights from {model.source}"
    if state == "incomplete" and folder is not None:
        first, *rest = lacking(folder)
        lack += f", of which {first} and {len(rest)} more are missing" if rest else f", of which {first} is missing"
    else:
        lack += ", which are not on this machine"
    if not is_hub_id(model.source):
        return f"{lack}: a whole folder of weights is needed there"
    return f"{lack}: fetch them with 'framegate pull {model.name}', or set 'download: true' in its entry"
