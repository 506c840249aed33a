"""Group offload: weights larger than the GPU stay on the host, copied by group."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from plugins.wan.checkpoint import DECODER, Part
from registry.folders.model import WEIGHTLESS

BLOCK = re.compile(r"blocks\.\d+(?=\.)")
RESIDENT_GROUPS = 2  # the one that computes, and the next one, which is being copied


def suits(part: Part) -> bool:
    """Say whether the weights of `part` may stay on the host."""
    # the VAE is small, its activations take the memory
    return part.name not in (*WEIGHTLESS, "vae", DECODER)


def device_bytes(part: Part, sizes: Mapping[str, int]) -> int:
    """Return the most device bytes of `sizes`: two groups, and ungrouped weights."""
    groups: Counter[str] = Counter()
    for name, size in sizes.items():
        groups[_group(part, name)] += size
    return groups.pop("", 0) + sum(size for _, size in groups.most_common(RESIDENT_GROUPS))


def apply(module: Any, part: Part, device: str, size: int) -> None:
    """Make `module`, with weights on the host, compute on `device` within `size` bytes.

    A transformer is copied by block, an encoder by layer; a GPU computes one group while the next is copied.
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
    module.nbytes = size  # read by the pool, which would count the parameters on the host


def _group(part: Part, name: str) -> str:
    if not part.is_transformer:
        return name.rpartition(".")[0]
    found = BLOCK.match(name)
    return found[0] if found else ""
