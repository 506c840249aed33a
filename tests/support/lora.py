"""Files of adapters for tests: whole safetensors files with one small tensor."""

import json
import struct
from pathlib import Path


def write_lora(path: Path, numbers: int = 1) -> Path:
    """Write a safetensors file with one tensor of `numbers` numbers; return its path."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack("<Q", len(header)) + header + path.name.encode().ljust(4 * numbers, b"\0")[: 4 * numbers]
    )
    return path
