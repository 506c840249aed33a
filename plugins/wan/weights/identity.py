"""The identity of a part's files, under which a pool may share the part."""

import json
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from plugins.wan.checkpoint import Part
from registry.folders import Weights

# who saved the files, and the format in which they are read by default: these do not change the part
IRRELEVANT = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")


def of_part(part: Part, digest: Callable[[Path], str]) -> Hashable:
    """Return a value equal only for equal parts; `digest` reads a file's bytes."""
    if part.name == "image_processor":
        return content(part.config)
    if part.weights is None:
        files = (path for path in part.folder.iterdir() if path.is_file())
        return tuple(sorted((path.name, digest(path)) for path in files))
    digests = {path: digest(path) for path in part.weights.files}
    return (content(part.config), *sorted(digests.values()), *_shards(part.weights, digests))


def _shards(weights: Weights, digests: Mapping[Path, str]) -> tuple[tuple[str, str], ...]:
    if len(digests) == 1:
        return ()
    # a tensor may be in several shards, and a shard's tensors may be left out
    return tuple(sorted((name, digests[tensor.file]) for name, tensor in weights.read().items()))


def content(config: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in config.items() if key not in IRRELEVANT}, sort_keys=True)
