"""An adapter's tensors, in every trainer's spelling, and the weights that they change.

The spellings: diffusers' and peft's own (`transformer.blocks.0.attn1.to_q.lora_A.weight`), ComfyUI's with the names of
Wan's repository (`diffusion_model.blocks.0.self_attn.q.lora_down.weight`), and those of kohya and musubi
(`lora_unet_blocks_0_self_attn_q.lora_down.weight`).
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from plugins.wan.weights.adapters.factors import PEFT

PREFIXES = (PEFT, "model.diffusion_model.", "diffusion_model.", "transformer.", "model.")
LONGEST = 1000  # characters of a name; no transformer has a weight of a longer one
KOHYA = ("lora_unet_", "lora_transformer_")
# Wan-Video/Wan2.1, wan/modules/model.py, and diffusers' names of the same modules; in kohya's spelling `_` is any dot
MODULES = {
    "self_attn": "attn1",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "cross_attn": "attn2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",
    "modulation": "scale_shift_table",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "head": "",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "patch_embedding": "patch_embedding",
}
PROJECTIONS = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}
DORA = ("dora_scale", "lora_magnitude_vector")


class Role(Enum):
    """The part of a tensor in the change of a weight."""

    DOWN = "down"  # of a low-rank product, (rank, in)
    UP = "up"  # (out, rank)
    ALPHA = "alpha"  # the product counts alpha / rank
    ADDED = "added"  # to the weight
    ADDED_UP = "added to the product"  # with the product's factor
    DORA = "dora"


class Target(NamedTuple):
    """A weight, by diffusers' name, and the role of a tensor for it."""

    weight: str
    role: Role


SUFFIXES = (  # after the module's name: the name of its weight, and the role
    (r"lora_(?:A|down)(?:\.[\w-]+)?\.weight", "weight", Role.DOWN),
    (r"lora_(?:B|up)(?:\.[\w-]+)?\.weight", "weight", Role.UP),
    (r"lora_B(?:\.[\w-]+)?\.bias", "bias", Role.ADDED_UP),
    (r"lora\.down\.weight", "weight", Role.DOWN),
    (r"lora\.up\.weight", "weight", Role.UP),
    (r"alpha", "weight", Role.ALPHA),
    (r"diff", "weight", Role.ADDED),
    (r"diff_b", "bias", Role.ADDED),
    (r"diff_m", "scale_shift_table", Role.ADDED),
    (rf"(?:{'|'.join(DORA)})(?:\.[\w-]+)?(?:\.weight)?", "weight", Role.DORA),
)
_SUFFIXES = tuple((re.compile(rf"(.*)\.{suffix}"), weight, role) for suffix, weight, role in SUFFIXES)


class Names:
    """The names of one transformer's `weights`, by diffusers."""

    def __init__(self, weights: Iterable[str]) -> None:
        self._weights = frozenset(weights)
        modules = {weight.rpartition(".")[0] for weight in self._weights}
        self._by_kohya = {_flat(spelling): module for module in modules for spelling in (module, *_originals(module))}

    def target(self, name: str) -> Target | None:
        """Return what a tensor called `name` changes; None if there is no such weight."""
        if len(name) > LONGEST:  # prefixes are taken off one at a time
            return None
        bare = _without_prefix(name)
        for pattern, weight, role in _SUFFIXES:
            if match := pattern.fullmatch(bare):
                return self._found(match[1], weight, role)
        return None

    def _found(self, module: str, weight: str, role: Role) -> Target | None:
        for known in (module, _diffusers_name(module), self._by_kohya.get(module)):
            if known is None:
                continue
            for full in (f"{known}.{weight}" if known else weight, known):  # a table has no weight of its own
                if full in self._weights:
                    return Target(full, role)
        return None


def module_of(name: str) -> str:
    """Return the module of a tensor as its trainer spells it, without the prefix."""
    bare = _without_prefix(name)
    return next((match[1] for pattern, *_ in _SUFFIXES if (match := pattern.fullmatch(bare))), bare)


def _without_prefix(name: str) -> str:
    for prefix in KOHYA:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    before = ""
    while name != before:  # peft's prefix may stand before diffusers'
        before = name
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
    return name


def _diffusers_name(module: str) -> str:
    """Return diffusers' name of a module of Wan's repository."""
    match = re.fullmatch(r"(blocks\.\d+)\.(.*)|(.*)", module)
    assert match is not None  # the last branch takes anything
    block, inner = (f"{match[1]}.", match[2]) if match[1] else ("", match[3])
    for original, known in MODULES.items():
        if inner == original:
            return block + known
        if original in ("self_attn", "cross_attn") and inner.startswith(f"{original}."):
            last = inner.removeprefix(f"{original}.")
            return f"{block}{known}.{PROJECTIONS.get(last, last)}"
    return module


def _originals(module: str) -> list[str]:
    """Return the names of a module of diffusers in Wan's repository."""
    match = re.fullmatch(r"(blocks\.\d+\.)?(.*)", module)
    assert match is not None
    block, inner = match[1] or "", match[2]
    found = [original for original, known in MODULES.items() if known == inner]
    for attention, known in (("self_attn", "attn1"), ("cross_attn", "attn2")):
        found += [f"{attention}.{one}" for one, other in PROJECTIONS.items() if inner == f"{known}.{other}"]
        if inner.startswith(f"{known}.norm_"):
            found.append(inner.replace(known, attention, 1))
    return [block + each for each in found]


def _flat(module: str) -> str:
    return module.replace(".", "_")
