"""What suits the card: number format and attention backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
FLASH_3 = "_flash_3_hub"
FLASH_3_REPOSITORY = "models--kernels-community--flash-attn3"


def dtype_for(option: str, device: str) -> torch.dtype:
    """Return the number format of the transformers and the text encoder: bf16 on a GPU, fp32 on a CPU."""
    if option == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return DTYPES[option]


def attention_for(option: str, device: str, dtype: torch.dtype) -> str:
    """Return diffusers' name of the attention backend.

    On Hopper and datacentre Blackwell torch's own first choice is FlashAttention 2, at half the rate of
    cuDNN; elsewhere it is the best or equal. FlashAttention 3 runs on Hopper alone. Both take 16 bits only.
    """
    if option != "auto":
        return option
    if not device.startswith("cuda") or dtype is torch.float32:
        return "native"
    major, _ = torch.cuda.get_device_capability(device)
    if major == 9 and _has_flash_3():
        return FLASH_3
    return "_native_cudnn" if major in (9, 10) else "native"


def _has_flash_3() -> bool:
    """Say whether the kernel is on this machine already: `auto` never downloads code."""
    if importlib.util.find_spec("kernels") is None:
        return False
    from huggingface_hub.constants import HF_HUB_CACHE

    return any(Path(HF_HUB_CACHE, FLASH_3_REPOSITORY, "snapshots").glob("*"))
