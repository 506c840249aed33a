"""Number formats by their names in options."""

from __future__ import annotations

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def dtype_for(option: str, device: str) -> torch.dtype:
    """Return the number format that `option` names; `auto` is fp32 on a CPU, bf16 on a GPU."""
    if option == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return DTYPES[option]
