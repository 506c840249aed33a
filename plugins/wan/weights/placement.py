"""Where the parts of one model go, what changes them on the way, and how they are read."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors import SafetensorError

from plugins.diffusers_backend import group_offload as offload
from plugins.diffusers_backend.attention_backend import set_attention_backend
from plugins.diffusers_backend.options import Options
from plugins.wan.checkpoint import DECODER, WEIGHTLESS, Part
from plugins.wan.memory import is_device_lost, is_out_of_memory
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights import identity, modules, transfer
from plugins.wan.weights.dtypes import attention_for, dtype_for
from plugins.wan.weights.host_offload import HostOffloader
from plugins.wan.weights.safetensors import dtype_in, sizes_of, stored_in
from registry.folders import Weights
from router import LoadFailed, Offloader, Pool

# Encoding in bf16 visibly drifts; CLIP is in fp32 in the published recipe, too.
IN_FP32 = ("vae", "image_encoder")
# what the libraries raise for files that are cut, missing or of another shape
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)

Arrived = Callable[[int], None]  # hears of bytes that are on the device now


@dataclass(frozen=True)
class Placement:
    """Where the parts of one model go, and what changes them on the way.

    With `group_offload` the weights stay on the host, but for those that compute.
    """

    device: str
    dtype: torch.dtype
    attention: str
    fast: Switches
    decoder_dtype: torch.dtype = torch.float32
    group_offload: bool = False

    @classmethod
    def of(cls, options: Options, device: str) -> Placement:
        dtype, fast = dtype_for(options.dtype, device), options.fast
        if options.attention != "auto":
            fast = replace(fast, measured_attention=False)  # what is said needs no measuring
        attention = attention_for(options.attention, device, dtype)
        return cls(device, dtype, attention, fast, dtype_for(options.decoder_dtype, device), options.group_offload)

    def key(self, part: Part, pool: Pool) -> Hashable:
        """Return the name of `part` in the pool."""
        with reading(part):
            files = identity.of_part(part, pool.digest)
        if part.name in WEIGHTLESS:
            return (part.class_name, files)
        attention = self.attention if part.is_transformer else ""
        waiting = "group_offload" if self._waits(part) else ""
        return (part.class_name, files, part.without, str(self.dtype_of(part)), self.device, attention, waiting)

    def dtype_of(self, part: Part) -> torch.dtype:
        if part.name == DECODER:
            return self.decoder_dtype
        return torch.float32 if part.name in IN_FP32 else self.dtype

    def size(self, part: Part) -> int:
        """Return how many bytes of the device `part` will take."""
        sizes = self._sizes(part)
        return offload.on_device(part, sizes) if self._waits(part) else sum(sizes.values())

    def weights(self, part: Part) -> int:
        """Return how many bytes there are to read of `part`, counted in the dtypes that it will have."""
        return sum(self._sizes(part).values())

    def tier(self, part: Part) -> Offloader | None:
        """Return how `part` waits on the host for its next holder; what has no weights is there already."""
        if self._waits(part):
            return None  # what waits between its steps must be read again once nobody needs it
        return HostOffloader("cpu" if part.name in WEIGHTLESS else self.device)

    def read(self, part: Part, arrived: Arrived) -> Any:
        """Read one part from its folder, its weights straight to the device; `arrived(bytes)` hears of each piece."""
        with reading(part):
            cls = class_of(part)
            if part.name == "image_processor":
                return cls.from_dict(dict(part.config))
            if part.weights is None:
                return cls.from_pretrained(part.folder, local_files_only=True)
            loaded = self._read_weights(cls, part, part.weights, arrived)
        if part.is_transformer:
            set_attention_backend(loaded, self.attention, self.device)
        if self._waits(part):
            offload.apply(loaded, part, self.device, self.size(part))
        return loaded

    def _waits(self, part: Part) -> bool:
        return self.group_offload and offload.suits(part)

    def _sizes(self, part: Part) -> dict[str, int]:
        if part.weights is None:
            return {}
        with reading(part):
            dtype = self.dtype_of(part)
            stored = {name: each for name, each in modules.once(stored_in(part.weights)).items() if part.has(name)}
            return sizes_of(stored, dtype, modules.kept_in_fp32(class_of(part), dtype))

    def _read_weights(self, cls: Any, part: Part, weights: Weights, arrived: Arrived) -> Any:
        tensors, dtype = stored_in(weights), self.dtype_of(part)
        loaded = modules.empty(cls, part.settings, len(tensors), part.without)
        stored = modules.weights_of(loaded, tensors, part.name)
        kept = modules.kept_in_fp32(cls, dtype)
        dtypes = {name: dtype_in(name, each, dtype, kept) for name, each in stored.items()}
        place = "cpu" if self._waits(part) else self.device
        tensors = transfer.read(stored, dtypes, place, arrived, pinned=place != self.device)
        modules.fill(loaded, tensors, place)
        return loaded


def class_of(part: Part) -> Any:
    return getattr(importlib.import_module(part.library), part.class_name)


@contextmanager
def reading(part: Part) -> Iterator[None]:
    """Turn what the libraries raise for bad files into `LoadFailed`."""
    try:
        yield
    except UNREADABLE as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        said = _brief(error).replace(str(part.folder), part.name)  # a caller reads it
        raise LoadFailed(f"{part.name} must be a whole {part.class_name}, reading it gave {said}") from error


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
