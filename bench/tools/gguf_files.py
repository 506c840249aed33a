"""GGUF files of a transformer's weights, by the `gguf` package."""

from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file


def write_blocks(folder: Path, target: Path, kind: str) -> str:
    """Write a file of the shapes in a folder, matrices as zeros in `kind`."""
    code = gguf.GGMLQuantizationType[kind]
    numbers, size = gguf.GGML_QUANT_SIZES[code]
    writer = gguf.GGUFWriter(target, "wan")
    for name, tensor in load_file(next(folder.glob("*.safetensors"))).items():
        if tensor.ndim == 2 and name.startswith("blocks."):
            blocks = np.zeros((tensor.shape[0], tensor.shape[1] // numbers * size), dtype=np.uint8)
            writer.add_tensor(name, blocks, raw_dtype=code)
        else:
            writer.add_tensor(name, tensor.float().numpy())
    return _written(writer, target)


def _written(writer: gguf.GGUFWriter, target: Path) -> str:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(target)


def write_gguf(part: Path, target: Path, kind: str) -> str:
    """Write the weights in a folder, matrices of blocks in `kind`."""
    writer, code = gguf.GGUFWriter(target, "wan"), gguf.GGMLQuantizationType[kind]
    for name, tensor in load_file(next(part.glob("*.safetensors"))).items():
        values = tensor.float().numpy()
        if tensor.ndim == 2 and name.startswith("blocks."):
            writer.add_tensor(name, gguf.quants.quantize(values, code), raw_dtype=code)
        else:
            writer.add_tensor(name, values)
    return _written(writer, target)


def write_dense(file: str, target: Path) -> str:
    """Write the numbers of a GGUF file, by the `gguf` package."""
    found = {
        each.name: torch.from_numpy(gguf.quants.dequantize(each.data, each.tensor_type).copy())
        for each in gguf.GGUFReader(file).tensors
    }
    save_file(found, target)
    return str(target)
