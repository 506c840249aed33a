"""Device and dtype of a model's parts, and reading the parts there."""

import importlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from safetensors import SafetensorError

from plugins.wan.checkpoint import DECODER, Part
from plugins.wan.memory import brief, is_device_lost, is_out_of_memory
from plugins.wan.plans.part_bytes import BUFFERS, IN_FP32, buffer_bytes
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights import identity, modules, transfer
from plugins.wan.weights.device_format import AUTO, FP8, FP8_PRODUCTS
from plugins.wan.weights.forms import Form, forms_of
from plugins.wan.weights.host_memory import HostOffloader
from plugins.wan.weights.pieces import Change
from plugins.wan.weights.quantised.layer import quantise_layers
from plugins.wan.weights.safetensors import StoredTensor, stored_in
from plugins.wan.weights.transfer import NO_CHANGES
from registry.folders import FolderError, Weights
from registry.folders.model import WEIGHTLESS
from router import LoadFailed, Offloader, Pool

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# raised by the libraries for files that are cut, missing or of another shape
UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SafetensorError,
    TypeError, ValueError,
)  # fmt: skip

Arrived = Callable[[int], None]  # called with the bytes that have reached the device


class Merging(Protocol):
    """Changes of the weights that are read."""

    def key(self, part: Part, pool: Pool) -> Hashable:
        """Return a value equal for equal changes to a part."""

    def deltas(self, part: Part, placement: "Placement") -> Mapping[str, Change]:
        """Return the change of each weight, by name."""


@dataclass(frozen=True)
class Placement:
    """The device, and the number formats, of one model's parts; a backend extends it.

    `weights` is the option of `device_format`, for the weights of blocks; with `fp8_products` those of the transformers
    in fp8 are multiplied in fp8, too.
    """

    device: str
    dtype: torch.dtype
    fast: Switches
    decoder_dtype: torch.dtype = torch.float32
    merging: Merging | None = None
    weights: str = AUTO
    fp8_products: bool = False

    def key(self, part: Part, pool: Pool) -> Hashable:
        with reading(part):
            files = identity.of_part(part, pool.digest)
        if part.name in WEIGHTLESS:
            return (part.class_name, files)
        changes = self.merging.key(part, pool) if self.merging else ()
        key = (part.class_name, files, part.without, str(self.dtype_of(part)), self.device, self._formats(part))
        return (*key, changes) if changes else key

    def stamps(self, part: Part) -> Hashable:
        """Return a value that changes with the weight files of a part."""
        with reading(part):
            return part.weights.stamps if part.weights else ()

    def _formats(self, part: Part) -> Hashable:
        """Return the number of weights in codes by format, and of fp8 products."""
        counts = Counter(form.format for form in self._stored_forms(part)[1].values() if form.format)
        return tuple(sorted(counts.items())), self.fp8_products and part.is_transformer

    def dtype_of(self, part: Part) -> torch.dtype:
        if part.name == DECODER:
            return self.decoder_dtype
        return torch.float32 if part.name in IN_FP32 else self.dtype

    def device_of(self, part: Part) -> str:
        """Return the device of the weights of `part` between its forward passes."""
        return self.device

    def tensor_sizes(self, part: Part) -> dict[str, int]:
        """Return the device bytes of each weight, and of computed tables."""
        if part.weights is None:
            return {}
        stored, forms = self._stored_forms(part)
        weights = {name: forms[name].nbytes(each.shape) for name, each in stored.items()}
        return {**weights, BUFFERS: buffer_bytes(part.name, part.config)}

    def device_bytes(self, part: Part) -> int:
        return sum(self.tensor_sizes(part).values())

    def offloader(self, part: Part) -> Offloader | None:
        """Return the offloader of an unused `part`; None to read it again."""
        return HostOffloader("cpu" if part.name in WEIGHTLESS else self.device)

    def read(self, part: Part, arrived: Arrived) -> Any:
        """Read one part to its device; `arrived(bytes)` is called for each piece."""
        with reading(part):
            cls = class_of(part)
            if part.name == "image_processor":
                return cls.from_dict(dict(part.config))
            if part.weights is None:
                return cls.from_pretrained(part.folder, local_files_only=True)
            return self._read_weights(cls, part, part.weights, arrived)

    def _read_weights(self, cls: Any, part: Part, weights: Weights, arrived: Arrived) -> torch.nn.Module:
        found, device = stored_in(weights), self.device_of(part)
        loaded = modules.empty(cls, part.settings, len(found), part.without)
        stored = modules.weights_of(loaded, found, part.name)
        forms = self._forms(part, cls, stored)
        changes = self.merging.deltas(part, self) if self.merging and part.is_transformer else NO_CHANGES
        tensors = transfer.read(stored, forms, device, arrived, pinned=device != self.device, changes=changes)
        formats = {name: (form.format, form.dtype) for name, form in forms.items() if form.format is not None}
        if self.fp8_products and part.is_transformer:
            formats = {name: (FP8_PRODUCTS if form == FP8 else form, kind) for name, (form, kind) in formats.items()}
        quantise_layers(loaded, formats)
        modules.fill(loaded, tensors, device)
        return loaded

    def _stored_forms(self, part: Part) -> tuple[dict[str, StoredTensor], dict[str, Form]]:
        """Return the stored tensors of a part, and their forms on the device."""
        if part.weights is None:
            return {}, {}
        with reading(part):
            stored = {name: each for name, each in modules.untied(stored_in(part.weights)).items() if part.has(name)}
            return stored, self._forms(part, class_of(part), stored)

    def _forms(self, part: Part, cls: Any, stored: Mapping[str, StoredTensor]) -> dict[str, Form]:
        dtype = self.dtype_of(part)
        kept, merging = modules.kept_in_fp32(cls, dtype), self.merging is not None
        return forms_of(part.name, stored, dtype, kept, self.weights, merging=merging)


def dtype_for(option: str, device: str) -> torch.dtype:
    """Return the number format of `option`; `auto` is fp32 on a CPU, else bf16."""
    if option == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return DTYPES[option]


def class_of(part: Part) -> Any:
    return getattr(importlib.import_module(part.library), part.class_name)


@contextmanager
def reading(part: Part) -> Iterator[None]:
    """Turn the libraries' errors for bad files into `LoadFailed`."""
    try:
        yield
    except FolderError as error:  # a file that has changed since its folder was read
        raise LoadFailed(error.reason) from error
    except UNREADABLE as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        summary = brief(error).replace(str(part.folder), part.name)  # a caller reads it
        raise LoadFailed(f"{part.name} must be a whole {part.class_name}, reading it gave {summary}") from error
