"""Choice of a transformer's attention backend, and a trial on the device at load."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import _AttentionBackendRegistry, dispatch_attention_fn
from torch.nn import functional

from plugins.diffusers_backend.dit.attention import CUDNN, FLASH_4, FLASH_4_PACKAGE, NATIVE, attend, has_flash_4
from plugins.wan.memory import brief, is_device_lost, is_out_of_memory
from router import LoadFailed

FLASH_3_HUB = "_flash_3_hub"
FLASH_3_REPOSITORY = "models--kernels-community--flash-attn3"
QUERIES, KEYS = 16, 512
TOLERANCE = 2e-2  # from attention in fp32, relative in the 2-norm: several times the rounding of bf16


def attention_for(option: str, device: str, dtype: torch.dtype) -> str:
    """Return the attention backend for `option`, by diffusers' name; `auto` suits the GPU."""
    # On Hopper and datacentre Blackwell torch's own first choice is FlashAttention 2, at half the rate of cuDNN;
    # elsewhere it is the best or equal. FlashAttention 3 runs on Hopper alone. Both take 16 bits only.
    if option != "auto":
        return option
    if not device.startswith("cuda") or dtype is torch.float32:
        return NATIVE
    major, _ = torch.cuda.get_device_capability(device)
    if major == 9 and _has_flash_3():
        return FLASH_3_HUB
    return CUDNN if major in (9, 10) else NATIVE


def set_attention_backend(transformer: WanTransformer3DModel, name: str, device: str) -> None:
    """Set the attention backend of `transformer`; raise `LoadFailed` if it fails on `device`."""
    if name == FLASH_4 and not has_flash_4():
        raise LoadFailed(f"attention {name} needs the package {FLASH_4_PACKAGE}: pip install 'framegate[hopper]'")
    stock = name
    if name == FLASH_4:  # unknown to diffusers' own forward pass, which runs where ours does not
        stock = CUDNN if device.startswith("cuda") else NATIVE
    try:
        with _registry_restored():
            transformer.set_attention_backend(stock)
        reason = _obstacle(transformer, name, stock, device)
    except Exception as error:
        # a kernel may raise anything; but want of memory and a lost device are another matter
        if is_device_lost(error) or is_out_of_memory(error):
            raise
        reason = f"trying it gave {brief(error)}"
    if reason is not None:
        raise LoadFailed(f"attention {name} must be usable on this machine, {reason}")


@torch.no_grad()
def _obstacle(transformer: WanTransformer3DModel, name: str, stock: str, device: str) -> str | None:
    heads, dtype = transformer.config.num_attention_heads, transformer.patch_embedding.weight.dtype
    generator = torch.Generator("cpu").manual_seed(0)
    query, key, value = (
        torch.randn(1, tokens, heads, transformer.config.attention_head_dim, generator=generator).to(device, dtype)
        for tokens in (QUERIES, KEYS, KEYS)
    )
    in_fp32 = [each.float().transpose(1, 2) for each in (query, key, value)]
    exact = functional.scaled_dot_product_attention(in_fp32[0], in_fp32[1], in_fp32[2])
    attended = dispatch_attention_fn(query, key, value, backend=stock)
    results = [attended, attend(query, key, value, None, name)] if name == FLASH_4 else [attended]
    off = max(float((each.float() - exact.transpose(1, 2)).norm() / exact.norm()) for each in results)
    return None if off <= TOLERANCE else f"its numbers for {dtype} on {device} are {off:.2g} off"


@contextmanager
def _registry_restored() -> Iterator[None]:
    """Restore diffusers' process-wide backend, which setting a model's backend also changes."""
    before, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        yield
    finally:
        _AttentionBackendRegistry.set_active_backend(before)


def _has_flash_3() -> bool:
    """Say whether the kernel is on this machine already; `auto` never downloads code."""
    if importlib.util.find_spec("kernels") is None:
        return False
    from huggingface_hub.constants import HF_HUB_CACHE

    return any(Path(HF_HUB_CACHE, FLASH_3_REPOSITORY, "snapshots").glob("*"))
