"""The attention backend of a transformer, which is tried on its device before a job needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import _AttentionBackendRegistry, dispatch_attention_fn
from torch.nn import functional

from plugins.diffusers_backend.dit.attention import CUDNN, FLASH_4, FLASH_4_PACKAGE, NATIVE, attend, has_flash_4
from plugins.wan.memory import is_device_lost, is_out_of_memory
from router import LoadFailed

QUERIES, KEYS = 16, 512
MOST_OFF = 2e-2  # from attention in fp32, relative in the 2-norm: several times the rounding of bf16


def set_attention_backend(transformer: WanTransformer3DModel, name: str, device: str) -> None:
    """Have `transformer` attend by the backend `name`; raise `LoadFailed` where that does not run on `device`."""
    if name == FLASH_4 and not has_flash_4():
        raise LoadFailed(f"attention {name} needs the package {FLASH_4_PACKAGE}: pip install 'framegate[hopper]'")
    theirs = name
    if name == FLASH_4:  # diffusers' own forward pass, where ours does not run, has no such backend
        theirs = CUDNN if device.startswith("cuda") else NATIVE
    try:
        with _default_kept():
            transformer.set_attention_backend(theirs)
        reason = _obstacle(transformer, name, theirs, device)
    except Exception as error:
        # a kernel may raise anything; but want of memory and a lost device are another matter
        if is_device_lost(error) or is_out_of_memory(error):
            raise
        said = str(error).strip().partition(chr(10))[0][:200]
        reason = f"trying it gave {type(error).__name__}: {said}"
    if reason is not None:
        raise LoadFailed(f"attention {name} must be usable on this machine, {reason}")


@torch.no_grad()
def _obstacle(transformer: WanTransformer3DModel, name: str, theirs: str, device: str) -> str | None:
    """Return what is wrong with what the backend gives for this model's heads and dtype; None where nothing is."""
    heads, dtype = transformer.config.num_attention_heads, transformer.patch_embedding.weight.dtype
    made = torch.Generator("cpu").manual_seed(0)
    query, key, value = (
        torch.randn(1, tokens, heads, transformer.config.attention_head_dim, generator=made).to(device, dtype)
        for tokens in (QUERIES, KEYS, KEYS)
    )
    exact = functional.scaled_dot_product_attention(*(each.float().transpose(1, 2) for each in (query, key, value)))
    got = dispatch_attention_fn(query, key, value, backend=theirs)
    results = [got, attend(query, key, value, None, name)] if name == FLASH_4 else [got]
    off = max(float((each.float() - exact.transpose(1, 2)).norm() / exact.norm()) for each in results)
    return None if off <= MOST_OFF else f"its numbers for {dtype} on {device} are {off:.2g} off"


@contextmanager
def _default_kept() -> Iterator[None]:
    """Leave alone what diffusers makes of a model's backend: the one of all models without, in this process."""
    before, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        yield
    finally:
        _AttentionBackendRegistry.set_active_backend(before)
