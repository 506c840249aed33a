"""Checks of a graph file before ONNX Runtime reads it, and its external weights."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError

from plugins.wan.weights.safetensors import StoredTensor
from registry.folders import FolderError
from registry.folders.files import regular_size
from router import LoadFailed

FILE = "model.onnx"
WEIGHTS = "diffusion_pytorch_model.safetensors"  # beside the graph: diffusers reads the folder too
PREFIX = "model."  # of a transformer's parameters in its graph
ONNX_TYPES = {
    torch.float32: onnx.TensorProto.FLOAT,
    torch.float16: onnx.TensorProto.FLOAT16,
    torch.bfloat16: onnx.TensorProto.BFLOAT16,
}
DOMAINS = ("", "ai.onnx", "com.microsoft")


def weights_of(folder: Path, stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the stored tensor of each external initializer of the graph in `folder`.

    Raises `LoadFailed` for a file that is no graph, for operations beyond ONNX and ONNX Runtime, and for data from
    anywhere but its position in `stored`.
    """
    path, what = folder / FILE, f"{FILE} of {folder.name}"
    try:
        regular_size(path, what)  # reading a FIFO would wait for ever
        model = onnx.load(path, load_external_data=False)
    except FolderError as error:
        raise LoadFailed(error.reason) from error
    except (OSError, DecodeError) as error:
        raise LoadFailed(f"{what} must be an ONNX graph, it cannot be read as one") from error
    if strange := sorted({one.domain for one in model.opset_import} - set(DOMAINS)):
        raise LoadFailed(f"{what} must use operations of ONNX and ONNX Runtime only, it asks for {', '.join(strange)}")
    if model.graph.sparse_initializer:
        raise LoadFailed(f"{what} must have no sparse tensors: none of its weights are")
    weights = {}
    for tensor in onnx.external_data_helper._get_all_tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
            continue
        data = {entry.key: entry.value for entry in tensor.external_data}
        known = stored.get(tensor.name.removeprefix(PREFIX))
        if known is None or not _matches(data, known) or not _fits(tensor, known):
            raise LoadFailed(
                f"{what} must take its data from the weights beside it; {tensor.name or 'a tensor'} would come from "
                f"{data.get('location', 'nowhere')} at {data.get('offset', '0')}"
            )
        weights[tensor.name] = known
    return weights


def _matches(data: Mapping[str, str], known: StoredTensor) -> bool:
    position = data.get("location"), data.get("offset", "0"), data.get("length", str(known.length))
    return position == (known.file.name, str(known.offset), str(known.length))


def _fits(tensor: onnx.TensorProto, known: StoredTensor) -> bool:
    return tuple(tensor.dims) == known.shape and tensor.data_type == ONNX_TYPES.get(known.dtype)
