"""One part's weights in one file: safetensors or GGUF, in any known spelling."""

from pathlib import Path

from registry.folders.safetensors import read_header
from registry.folders.weights import Shapes, Weights


def read(path: Path, part: str) -> tuple[Weights, Shapes]:
    """Return the weights in `path`, and their tensors' shapes; raise `FolderError` otherwise."""
    header = read_header(path, part)
    return Weights(part, (path,)), {name: header.shape(name) for name in header.entries}
