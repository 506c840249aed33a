"""A module of diffusers or transformers around weights that are on its device already."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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

TIED = ("shared.weight", "encoder.embed_tokens.weight")  # umT5's embedding: some files have it twice, memory once
CLIP_KEYS = (
    "hidden_size",
    "intermediate_size",
    "projection_dim",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "attention_dropout",
)
READ = {  # what each class of transformers builds a module of
    "UMT5EncoderModel": (
        "vocab_size",
        "d_model",
        "d_kv",
        "d_ff",
        "num_layers",
        "num_heads",
        "relative_attention_num_buckets",
        "relative_attention_max_distance",
        "dropout_rate",
        "layer_norm_epsilon",
        "feed_forward_proj",
        "pad_token_id",
        "eos_token_id",
    ),
    "CLIPVisionModel": CLIP_KEYS,
    "CLIPVisionModelWithProjection": CLIP_KEYS,
}
SPARE, MODULES = 64, 8  # parameters that share a tensor, and modules for each
CLIP_PREFIX = "vision_model."  # before the names in CLIP, or not: by the version of transformers that wrote the file


def empty(cls: Any, settings: Mapping[str, Any], tensors: int, without: Collection[str] = ()) -> torch.nn.Module:
    """Return a `cls` of these `settings`, its parameters without memory, some modules left out.

    Raises `ValueError` once it has more parameters than the `tensors` of its files, whatever number is at fault.
    """
    with no_init_weights(), accelerate.init_empty_weights(), _at_most(tensors):  # what it computes itself, it computes
        if hasattr(cls, "load_config"):
            module: torch.nn.Module = cls.from_config(dict(settings))
        else:  # transformers takes any key: other files to read, attention that is downloaded, a million labels
            module = cls(_config(cls, {key: settings[key] for key in READ[cls.__name__] if key in settings}))
    for name in without:
        setattr(module, name, None)
    return module.eval()


def _config(cls: Any, known: Mapping[str, Any]) -> Any:
    try:
        return cls.config_class(**known)
    except Exception as error:  # what validates it has errors of its own
        raise ValueError(str(error).replace(chr(10), " ")) from error


@contextmanager
def _at_most(tensors: int) -> Iterator[None]:
    """Raise `ValueError` where a module that this thread builds has many more parts than there are tensors."""
    here, counts = threading.get_ident(), Counter[str]()

    def count(kind: str, most: int) -> None:
        if threading.get_ident() == here:
            counts[kind] += 1
            if counts[kind] > most:
                raise ValueError(f"its config.json makes more than {most} {kind}, its weights are {tensors} tensors")

    hooks = [
        register_module_parameter_registration_hook(lambda *_: count("parameters", tensors + SPARE)),
        register_module_module_registration_hook(lambda *_: count("modules", MODULES * (tensors + SPARE))),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def kept_in_fp32(cls: Any, dtype: torch.dtype) -> frozenset[str]:
    """Return the names of modules whose weights `cls` wants in fp32 when the others are in `dtype`."""
    kept = frozenset(cls._keep_in_fp32_modules or ())
    if not issubclass(cls, PreTrainedModel):
        return kept
    strict = frozenset(cls._keep_in_fp32_modules_strict or ())
    return kept | strict if dtype is torch.float16 else strict  # the plain list is for what overflows in fp16


def once(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors without the second name of a tied one."""
    tensors = dict(stored)
    source, twin = TIED
    if twin in tensors:
        tensors.setdefault(source, tensors[twin])
        del tensors[twin]
    return tensors


def weights_of(module: torch.nn.Module, stored: Mapping[str, StoredTensor], part: str) -> dict[str, StoredTensor]:
    """Return what each weight of `module` is among the `stored` tensors of its part.

    Raises `LoadFailed` where one is missing, `ValueError` where one has another shape.
    """
    wanted = once(module.state_dict())  # type: ignore[arg-type]
    found = _named(once(stored), wanted.keys())
    if missing := sorted(wanted.keys() - found.keys()):
        raise LoadFailed(
            f"{part} lacks weights that a {type(module).__name__} of its config.json needs, such as {missing[0]}"
        )
    for name, tensor in found.items():
        if tensor.shape != (shape := tuple(wanted[name].shape)):
            raise ValueError(f"{name} has the shape {tensor.shape}, its config.json needs {shape}")
    return found


def fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], device: str) -> None:
    """Give `module` its weights, which are on `device`, and bring what it computed itself there."""
    module.load_state_dict(weights, strict=False, assign=True)
    if TIED[0] in weights:
        module.tie_weights()  # type: ignore[operator]
    module.to(device)


def _named(stored: Mapping[str, StoredTensor], wanted: Collection[str]) -> dict[str, StoredTensor]:
    """Return the stored tensors by the names that the module has for them; what it has no name for is left out."""
    found = {}
    for name, tensor in stored.items():
        for candidate in (name, name.removeprefix(CLIP_PREFIX), CLIP_PREFIX + name):
            if candidate in wanted:
                found[candidate] = tensor
                break
    return found
