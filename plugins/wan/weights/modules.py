"""Modules of diffusers or transformers around weights already on their device."""

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import accelerate
import torch
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from plugins.wan.weights.safetensors import StoredTensor
from router import LoadFailed

T = TypeVar("T")

TIED = ("shared.weight", "encoder.embed_tokens.weight")  # umT5's embedding, twice in some files
# all that each class of transformers reads of its config.json here
UMT5_KEYS = (
    "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "relative_attention_num_buckets",
    "relative_attention_max_distance", "dropout_rate", "layer_norm_epsilon", "feed_forward_proj", "pad_token_id",
    "eos_token_id",
)  # fmt: skip
CLIP_KEYS = (
    "hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers", "num_attention_heads", "num_channels",
    "image_size", "patch_size", "hidden_act", "layer_norm_eps", "attention_dropout",
)  # fmt: skip
CONFIG_KEYS = {
    "UMT5EncoderModel": UMT5_KEYS,
    "CLIPVisionModel": CLIP_KEYS,
    "CLIPVisionModelWithProjection": CLIP_KEYS,
}
SPARE_TENSORS, MODULES_PER_TENSOR = 64, 8  # parameters may share a tensor; a module may have none of its own
CLIP_PREFIX = "vision_model."  # of CLIP's tensors, by the version of transformers that wrote the file


def empty(cls: Any, settings: Mapping[str, Any], tensors: int, without: Collection[str] = ()) -> torch.nn.Module:
    """Return a `cls` of these `settings` with parameters without memory, and no modules `without`.

    Raises `ValueError` for many more parameters or modules than `tensors`, the number in its files.
    """
    with no_init_weights(), accelerate.init_empty_weights(), _bounded(tensors):  # computed buffers are computed
        if hasattr(cls, "load_config"):
            module: torch.nn.Module = cls.from_config(dict(settings))
        else:
            # transformers takes any key: other files to read, attention to download, a million labels
            module = cls(_config(cls, {key: settings[key] for key in CONFIG_KEYS[cls.__name__] if key in settings}))
    for name in without:
        setattr(module, name, None)
    return module.eval()


def _config(cls: Any, known: Mapping[str, Any]) -> Any:
    try:
        return cls.config_class(**known)
    except Exception as error:  # the validator has errors of its own
        raise ValueError(str(error).replace(chr(10), " ")) from error


@contextmanager
def _bounded(tensors: int) -> Iterator[None]:
    """Raise `ValueError` when this thread builds a module of many more parts than `tensors`."""
    # the hooks are global, other threads may build modules of their own
    here, counts, most = threading.get_ident(), Counter[str](), tensors + SPARE_TENSORS

    def count(kind: str, limit: int) -> None:
        if threading.get_ident() == here:
            counts[kind] += 1
            if counts[kind] > limit:
                raise ValueError(f"its config.json makes more than {limit} {kind}, its weights are {tensors} tensors")

    hooks = [
        register_module_parameter_registration_hook(lambda *_: count("parameters", most)),
        register_module_module_registration_hook(lambda *_: count("modules", MODULES_PER_TENSOR * most)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def kept_in_fp32(cls: Any, dtype: torch.dtype) -> frozenset[str]:
    """Return the names of modules that `cls` keeps in fp32 beside `dtype`."""
    kept = frozenset(cls._keep_in_fp32_modules or ())
    if not issubclass(cls, PreTrainedModel):
        return kept
    strict = frozenset(cls._keep_in_fp32_modules_strict or ())
    return kept | strict if dtype is torch.float16 else strict  # the plain list is for what overflows in fp16


def untied(stored: Mapping[str, T]) -> dict[str, T]:
    """Return the tensors without the second name of a tied tensor."""
    tensors = dict(stored)
    source, twin = TIED
    if twin in tensors:
        tensors.setdefault(source, tensors[twin])
        del tensors[twin]
    return tensors


def weights_of(module: torch.nn.Module, stored: Mapping[str, StoredTensor], part: str) -> dict[str, StoredTensor]:
    """Return the stored tensor of each weight of `module`.

    Raises `LoadFailed` if one is missing, `ValueError` if one has another shape.
    """
    expected = untied(module.state_dict())
    found = _named(untied(stored), expected.keys())
    if missing := sorted(expected.keys() - found.keys()):
        raise LoadFailed(
            f"{part} lacks weights that a {type(module).__name__} of its config.json needs, such as {missing[0]}"
        )
    for name, tensor in found.items():
        if tensor.shape != (shape := tuple(expected[name].shape)):
            raise ValueError(f"{name} has the shape {tensor.shape}, its config.json needs {shape}")
    return found


def fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], device: str) -> None:
    """Assign `weights`, already on `device`, to `module`, and move its computed buffers there."""
    module.load_state_dict(weights, strict=False, assign=True)
    if TIED[0] in weights:
        module.tie_weights()  # type: ignore[operator]  # of transformers' encoder
    module.to(device)


def _named(stored: Mapping[str, StoredTensor], expected: Collection[str]) -> dict[str, StoredTensor]:
    found = {}
    for name, tensor in stored.items():
        for candidate in (name, name.removeprefix(CLIP_PREFIX), CLIP_PREFIX + name):
            if candidate in expected:
                found[candidate] = tensor
                break
    return found
