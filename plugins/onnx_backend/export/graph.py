"""The export of a transformer as a graph, with weights in a safetensors file."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from onnxscript.optimizer import optimize_ir

from plugins.onnx_backend.export.network import Network
from plugins.onnx_backend.export.ops import TRANSLATIONS
from plugins.onnx_backend.graph import ONNX_TYPES, PREFIX
from plugins.onnx_backend.record import OPSET
from plugins.wan.weights.safetensors import StoredTensor


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a transformer with all defaults."""
    with torch.device("meta"):
        model = WanTransformer3DModel.from_config(dict(config))
    return {name: value for name, value in model.config.items() if not name.startswith("_")}


def empty_transformer(config: Mapping[str, Any], dtype: torch.dtype) -> WanTransformer3DModel:
    """Return a transformer in `dtype`, uninitialised; diffusers keeps some modules in fp32."""
    with torch.device("meta"):
        model = WanTransformer3DModel.from_config(dict(config))
    for name, parameter in model.named_parameters():
        kept = any(part in model._keep_in_fp32_modules for part in name.split("."))
        parameter.data = parameter.data.to(torch.float32 if kept else dtype)
    model.to_empty(device="cpu")
    sizes = model.config.attention_head_dim, model.config.patch_size, model.config.rope_max_seq_len
    model.rope = WanRotaryPosEmbed(*sizes)
    return model.eval().requires_grad_(False)


def write_graph(
    model: WanTransformer3DModel,
    framewise: bool,
    weights: Mapping[str, StoredTensor],
    path: Path,
    image_tokens: int = 0,
) -> None:
    """Write `model` as a graph at `path`, for any video size and text length.

    `weights` has the position of each parameter in a file beside `path`. `image_tokens` is the number of CLIP's tokens
    of an image, for a model that reads them.
    """
    example = _example(model, framewise, image_tokens)
    with _quiet():
        program = torch.onnx.export(
            Network(model, framewise),
            kwargs=example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=_dynamic_shapes(model, framewise),
            custom_translation_table=TRANSLATIONS,
            input_names=list(example),
            output_names=["sample"],
            optimize=False,
            verbose=False,
        )
    assert program is not None  # by dynamo
    graph = program.model.graph
    with _weights_as_inputs(graph, weights):
        optimize_ir(program.model)
    for node in graph.all_nodes():
        node.metadata_props.clear()  # the exporter's notes, with the paths of this machine
        node.doc_string = None
    ir.save(program.model, path)


@contextmanager
def _weights_as_inputs(graph: ir.Graph, weights: Mapping[str, StoredTensor]) -> Iterator[None]:
    """Make the weights inputs while the block runs, then external tensors."""
    # the optimizer would fold or merge initializers
    values = {name: value for name, value in graph.initializers.items() if name.removeprefix(PREFIX) in weights}
    for name, value in values.items():
        del graph.initializers[name]
        value.const_value = None
        graph.inputs.append(value)
    yield
    for name, value in values.items():
        graph.inputs.remove(value)
        value.const_value = _external(name, weights[name.removeprefix(PREFIX)])
        graph.register_initializer(value)


def _external(name: str, stored: StoredTensor) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        stored.file.name,
        stored.offset,
        stored.length,
        ir.DataType(ONNX_TYPES[stored.dtype]),
        shape=ir.Shape(stored.shape),
        name=name,
        base_dir=stored.file.parent,
    )


def _example(model: WanTransformer3DModel, framewise: bool, image_tokens: int) -> dict[str, torch.Tensor]:
    # a size of 1 would be traced as a constant
    config, dtype = model.config, model.dtype
    frames, height, width = (size * factor for size, factor in zip((3, 4, 6), config.patch_size, strict=True))
    inputs = {
        "hidden_states": torch.zeros(1, config.in_channels, frames, height, width, dtype=dtype),
        "timestep": torch.zeros(3 if framewise else 1),
        "encoder_hidden_states": torch.zeros(1, 24, config.text_dim, dtype=dtype),
    }
    if config.image_dim is not None:
        images = 1 if config.pos_embed_seq_len is None else 2
        inputs["encoder_hidden_states_image"] = torch.zeros(images, image_tokens, config.image_dim, dtype=dtype)
    return inputs


def _dynamic_shapes(model: WanTransformer3DModel, framewise: bool) -> dict[str, Any]:
    dynamic = torch.export.Dim.DYNAMIC
    shapes: dict[str, Any] = {
        "hidden_states": {2: dynamic, 3: dynamic, 4: dynamic},
        "timestep": {0: dynamic} if framewise else None,
        "encoder_hidden_states": {1: dynamic},
    }
    return shapes | ({"encoder_hidden_states_image": None} if model.config.image_dim is not None else {})


@contextmanager
def _quiet() -> Iterator[None]:
    # they are on torchvision, which Wan does not use, and on the exporter's future
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
