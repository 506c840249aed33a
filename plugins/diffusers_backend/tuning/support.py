"""The transformers that our forward pass supports: allowed classes, and marks of changes."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models import attention, embeddings, normalization
from diffusers.models.activations import GELU
from diffusers.models.transformers import transformer_wan
from torch import nn
from torch.nn.modules import module as torch_module

from plugins.wan.vae.twin import has_hooks
from plugins.wan.weights.quantised.layer import QuantisedLinear

# by name: a later diffusers may lack some, and the classes in their stead are then foreign
OF_DIFFUSERS = {
    transformer_wan: (
        "WanTransformer3DModel",
        "WanTransformerBlock",
        "WanAttention",
        "WanRotaryPosEmbed",
        "WanTimeTextImageEmbedding",
        "WanImageEmbedding",
    ),
    embeddings: ("Timesteps", "TimestepEmbedding", "PixArtAlphaTextProjection"),
    attention: ("FeedForward",),
    normalization: ("FP32LayerNorm",),
}
KNOWN = frozenset(
    [getattr(home, name) for home, names in OF_DIFFUSERS.items() for name in names if hasattr(home, name)]
    + [
        GELU,
        QuantisedLinear,
        nn.Conv3d,
        nn.Linear,
        nn.RMSNorm,
        nn.Dropout,
        nn.Identity,
        nn.SiLU,
        nn.GELU,
        nn.ModuleList,
    ]
)
CODE = "the code of diffusers or PyTorch"
CONFIG = ("qk_norm", "patch_size", "eps", "num_attention_heads", "attention_head_dim")
PLAIN = frozenset({int, float, bool, str, tuple, type(None)})  # compared by value, others by identity
Marks = Mapping[str, Hashable]


class ForeignError(Exception):
    """A transformer that our forward pass does not support; the message says why."""


@dataclass(frozen=True)
class Guard:
    model: WanTransformer3DModel
    marks: Marks

    def obstacle(self) -> str | None:
        """Return why our forward pass must not run now, in words, or None."""
        try:
            now = marks_of(self.model)
        except ForeignError as error:
            return str(error)
        if now == self.marks:
            return None
        changed = next(name for name in (*now, *self.marks) if now.get(name) != self.marks.get(name))
        return f"{changed or 'it'} has changed since it was loaded"


def marks_of(transformer: WanTransformer3DModel) -> Marks:
    """Return the marks of all modules of `transformer`, by module name.

    Raises `ForeignError` for anything that is not on the allow-list.
    """
    if type(transformer) is not WanTransformer3DModel:
        raise ForeignError(f"it is a {_named(type(transformer))}")
    config = {name: transformer.config.get(name) for name in CONFIG}
    if config["qk_norm"] != "rms_norm_across_heads":
        raise ForeignError(f"its qk_norm is {config['qk_norm']}")
    if tuple(config["patch_size"]) != (1, 2, 2):
        raise ForeignError(f"its patches are {config['patch_size']}")
    if getattr(transformer, "_hf_peft_config_loaded", False) and getattr(transformer, "peft_config", None):
        raise ForeignError("it has adapters")
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        raise ForeignError("something is hooked into all modules")
    # the functions of diffusers' own pass, which somebody may replace
    code = (transformer_wan.WanAttnProcessor.__call__, transformer_wan.dispatch_attention_fn)
    marks: dict[str, Hashable] = {CODE: (*code, *(kind.forward for kind in KNOWN))}
    marks["its config"] = tuple(map(str, config.values()))
    for name, module in _modules(transformer):
        marks[name] = mark_of(module, name)
        _require_config(vars(module), name, config)
    return marks


def mark_of(module: nn.Module, name: str = "") -> Hashable:
    """Return the mark of one module: all that determines its result beside weights."""
    attributes, kind = vars(module), type(module)
    if kind not in KNOWN:
        raise ForeignError(f"{name} is a {_named(kind)}")
    if has_hooks(attributes):
        raise ForeignError(f"something is hooked into {name or 'it'}")
    if "forward" in attributes:
        raise ForeignError(f"{name or 'it'} has a forward of its own")
    if attributes["training"]:
        raise ForeignError(f"{name or 'it'} is in training mode")
    weights = [(key, _dtype(weight, name)) for key, weight in attributes["_parameters"].items()]
    if not name:  # the outermost module holds bookkeeping of diffusers
        return kind, *weights
    values = [(key, _value(value)) for key, value in attributes.items() if key[0] != "_" and key != "processor"]
    return kind, _processor(attributes, name), *weights, *values


def _modules(whole: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules with their names; a shared module under each of its names."""
    waiting: list[tuple[str, nn.Module]] = [("", whole)]
    while waiting:
        name, module = waiting.pop()
        yield name, module
        prefix = f"{name}." if name else ""
        waiting += [(prefix + key, child) for key, child in module._modules.items() if child is not None]


def _dtype(weight: torch.Tensor | None, name: str) -> torch.dtype | None:
    if weight is None:
        return None
    if type(weight) is not nn.Parameter:  # a quantised weight, say, is a tensor of a class of its own
        raise ForeignError(f"a weight of {name or 'it'} is a {_named(type(weight))}")
    return weight.dtype


def _processor(attributes: Mapping[str, Any], name: str) -> Hashable:
    if (processor := attributes.get("processor")) is None:
        return None
    if type(processor) is not transformer_wan.WanAttnProcessor or processor._parallel_config is not None:
        raise ForeignError(f"{name} has a {type(processor).__name__} that is not diffusers' plain one")
    if attributes.get("fused_projections"):
        raise ForeignError(f"{name} has fused projections")
    return tuple((key, _value(value)) for key, value in vars(processor).items())


def _require_config(attributes: Mapping[str, Any], name: str, config: Mapping[str, Any]) -> None:
    # our forward pass reads the config, diffusers' own the attributes
    if attributes.get("eps", config["eps"]) != config["eps"] and name.startswith(("blocks.", "norm_out")):
        raise ForeignError(f"{name} has an eps of {attributes['eps']}, its config says {config['eps']}")
    if attributes.get("heads", config["num_attention_heads"]) != config["num_attention_heads"]:
        raise ForeignError(f"{name} has {attributes['heads']} heads, its config says {config['num_attention_heads']}")


def _value(value: object) -> Hashable:
    return value if type(value) in PLAIN else id(value)


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
