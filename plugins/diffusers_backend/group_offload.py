"""Modules larger than their card: the weights wait on the host, and groups of them visit the device in turn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from plugins.wan.checkpoint import DECODER, WEIGHTLESS, Part

BLOCK = re.compile(r"blocks\.\d+(?=\.)")
AT_ONCE = 2  # groups on the device: the one that computes, and the next on its way


def suits(part: Part) -> bool:
    """Say whether `part` may wait on the host; the VAE is small, and its memory is in what it computes."""
    return part.name not in (*WEIGHTLESS, "vae", DECODER)


def on_device(part: Part, sizes: Mapping[str, int]) -> int:
    """Return how many bytes of the device weights of these `sizes` take at most: two groups, and what is in none."""
    groups: Counter[str] = Counter()
    for name, size in sizes.items():
        groups[_group(part, name)] += size
    return groups.pop("", 0) + sum(size for _, size in groups.most_common(AT_ONCE))


def apply(module: Any, part: Part, device: str, size: int) -> None:
    """Make `module`, whose weights are on the host, compute on `device`, where it takes `size` bytes.

    A transformer goes block by block, an encoder layer by layer; on a GPU the next one is copied meanwhile.
    """
    streams = device.startswith("cuda")
    apply_group_offloading(
        module,
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="block_level" if part.is_transformer else "leaf_level",
        num_blocks_per_group=1,
        use_stream=streams,
        record_stream=streams,
    )
    module.nbytes = size  # for the pool: its parameters are elsewhere


def _group(part: Part, name: str) -> str:
    if not part.is_transformer:
        return name.rpartition(".")[0]
    found = BLOCK.match(name)
    return found[0] if found else ""
