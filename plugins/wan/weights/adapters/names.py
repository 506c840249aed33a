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
from registry.folders.spellings.transformer import MODULES, PROJECTIONS, module_name

PREFIXES = (PEFT, "model.diffusion_model.", "diffusion_model.", "transformer.", "model.")
LONGEST = 1000  # characters of a name; no transformer has a weight of a longer one
KOHYA = ("lora_unet_", "lora_transformer_")  # in this spelling `_` is any dot
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
        for known in (module, module_name(module), self._by_kohya.get(module)):
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
