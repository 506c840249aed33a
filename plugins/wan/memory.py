"""The errors of a device: want of memory, and the loss of the device."""

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from router import DeviceLost, OutOfMemory

# errors beside torch.OutOfMemoryError: of the host's allocator, of cuBLAS' workspace
SIGNS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


@contextmanager
def out_of_memory(doing: str, hint: str) -> Iterator[None]:
    """Turn running out of memory into `OutOfMemory`, and a failed device into `DeviceLost`.

    The message says what was being done, `doing`, and what would help, `hint`. Best around a single call: the call's
    memory is released before the error travels on, so that a caller may retry.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_device_lost(error):
            raise DeviceLost(f"the device failed {doing}: {error}") from error
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        free()
        raise OutOfMemory(f"the device ran out of memory {doing}; {hint}") from error


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def is_device_lost(error: BaseException) -> bool:
    """Say whether a CUDA error other than want of memory ended the process's context."""
    return isinstance(error, RuntimeError) and "CUDA error:" in str(error) and not is_out_of_memory(error)


def brief(error: BaseException) -> str:
    """Return an error's class and 200 characters of its message's first line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
