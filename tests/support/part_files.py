"""Files of one part: real headers, holes for tensors."""

import json
from pathlib import Path

from bench.tools.layout import write_safetensors
from registry.folders.expected import expected


def put_apart(folder: Path, part: str, file: Path, dtype: str = "BF16") -> Path:
    """Write a file with all tensors of a part, and empty its folder."""
    for weights in (folder / part).glob("*.safetensors*"):
        weights.unlink()
    return write_whole(folder, part, file, dtype)


def write_whole(folder: Path, part: str, file: Path, dtype: str = "BF16") -> Path:
    """Write a file with all tensors of a part, by its configuration."""
    config = json.loads((folder / part / "config.json").read_text())
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, dict(expected(part, config)), dtype)
    return file
