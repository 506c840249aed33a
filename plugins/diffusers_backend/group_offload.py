"""Group offload: weights larger than the GPU stay on the host, copied by group."""

from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from plugins.wan.checkpoint import Part


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
