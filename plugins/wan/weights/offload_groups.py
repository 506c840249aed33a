"""The groups of weights that group offload copies to the device; without heavy libraries."""

import re
from collections import Counter
from collections.abc import Mapping

from plugins.wan.checkpoint import DECODER
from registry.folders.model import WEIGHTLESS

BLOCK = re.compile(r"blocks\.\d+(?=\.)")
RESIDENT_GROUPS = 2  # the one that computes, and the next one, which is being copied


def suits(part: str) -> bool:
    """Say whether the weights of a part may stay on the host."""
    # the VAE is small, its activations take the memory
    return part not in (*WEIGHTLESS, "vae", DECODER)


def device_bytes(part: str, sizes: Mapping[str, int]) -> int:
    """Return the most device bytes of `sizes`: two groups, and ungrouped weights."""
    groups: Counter[str] = Counter()
    for name, size in sizes.items():
        groups[_group(part, name)] += size
    return groups.pop("", 0) + sum(size for _, size in groups.most_common(RESIDENT_GROUPS))


def _group(part: str, name: str) -> str:
    if not part.startswith("transformer"):
        return name.rpartition(".")[0]
    found = BLOCK.match(name)
    return found[0] if found else ""
