"""A model's weights in another format, as a folder in the diffusers layout."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from plugins.wan import merged
from plugins.wan.checkpoint import Checkpoint, Part
from plugins.wan.new_folder import HEAVY, Progress, copy_files, new_folder
from plugins.wan.stored_codes import codes_of
from plugins.wan.tuning.switches import OFF
from plugins.wan.weights import modules, safetensors
from plugins.wan.weights.adapters.merge import MergedAdapters
from plugins.wan.weights.adapters.weights import Delta
from plugins.wan.weights.device_format import AUTO, format_of
from plugins.wan.weights.forms import Form
from plugins.wan.weights.placement import DTYPES, Placement, class_of, reading
from plugins.wan.weights.quantised.codes import LARGEST, quantise
from plugins.wan.weights.quantised.layer import CODES, SCALE
from plugins.wan.weights.safetensors import StoredTensor, dtype_in, stored_in
from registry.folders.model import INDEX, WEIGHTLESS
from registry.folders.parts import OURS, QUANTISED
from registry.folders.weights import STEMS, SUFFIX
from router import LoadFailed

INDEX_OF_SHARDS = f"{SUFFIX}.index.json"
PLAIN = "bf16"  # the numbers of weights that were in codes, and stay so in no format of safetensors
WORDS = {**{dtype: word for word, dtype in DTYPES.items()}, torch.float64: "fp64"}
NAMES = {CODES: "weight", SCALE: "weight_scale"}  # of a layer's parameters, in files


@dataclass(frozen=True)
class Conversion:
    """A model to write with `weights` in fp8, int8 or a number format."""

    checkpoint: Checkpoint
    adapters: MergedAdapters
    weights: str

    def write(self, target: Path, progress: Progress) -> None:
        """Write the folder `target`; raise `LoadFailed` if it cannot be written."""
        folder, parts = self.checkpoint.folder.path, self.checkpoint.parts.values()
        copied = [part for part in parts if self._stays(part)]
        with new_folder(target) as draft:
            loose = [folder / name for name in (INDEX, merged.FILE) if (folder / name).is_file()]
            copy_files(loose, copied, folder, draft, progress)
            for part in parts:
                if part not in copied:
                    self._write_part(part, draft / part.name, progress)
            used = {adapter.name: (used.high, used.low) for adapter, used in self.adapters.adapters}
            merged.write(draft, used, codes_of(self.checkpoint.folder.parts))

    def _stays(self, part: Part) -> bool:
        """Say whether the files of a part are copied as they are."""
        if part.name in WEIGHTLESS or part.weights is None:
            return True
        if part.is_transformer or any(file.parent != part.folder for file in part.weights.files):
            return False
        # others read number formats alone
        return self.weights in LARGEST or all(each.is_plain for each in stored_in(part.weights).values())

    def _write_part(self, part: Part, target: Path, progress: Progress) -> None:
        assert part.weights is not None
        with reading(part):
            stored = modules.untied(stored_in(part.weights))
            forms = {name: self._form(part, name, each) for name, each in stored.items()}
            deltas = self.adapters.deltas(part, Placement("cpu", torch.float32, OFF)) if part.is_transformer else {}
        types = {
            _in_file(written): (dtype, shape)
            for name, form in forms.items()
            for written, (shape, dtype) in form.tensors(name, stored[name].shape)
        }
        target.mkdir()
        for path in part.folder.iterdir():
            if path.is_file() and not path.name.endswith((*HEAVY, INDEX_OF_SHARDS)):
                shutil.copyfile(path, target / path.name)
        config = dict(part.config)
        if any(form.format for form in forms.values()):  # else other readers would take the codes for the numbers
            config[QUANTISED] = {"quant_method": OURS}
        (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        path = target / f"{STEMS[part.library]}{SUFFIX}"
        header, positions = safetensors.layout(path, types)
        total = sum(each.length for each in positions.values())
        doing, tensors = f"{part.name}: writing its weights", _tensors(part, stored, forms, deltas)
        safetensors.write(path, header, tensors, lambda done: progress(doing, done, total))

    def _form(self, part: Part, name: str, stored: StoredTensor) -> Form:
        own = stored.dtype if stored.is_plain else DTYPES.get(self.weights, DTYPES[PLAIN])
        if self.weights in LARGEST:
            option = self.weights if part.is_transformer else AUTO
            form = format_of(part.name, name, stored.kind, stored.shape, option)
            return Form(own, form if form in LARGEST else None)
        if not part.is_transformer:
            return Form(own)
        dtype = DTYPES[self.weights]  # some weights stay in fp32, as they do when a model loads
        return Form(dtype_in(name, stored, dtype, modules.kept_in_fp32(class_of(part), dtype)))


def _tensors(
    part: Part, stored: Mapping[str, StoredTensor], forms: Mapping[str, Form], deltas: Mapping[str, Delta]
) -> Iterator[torch.Tensor]:
    """Yield the tensors of a file, one weight in memory at a time."""
    for name, form in forms.items():
        with reading(part):  # and not around the writing, whose errors are the disk's
            found = _written(stored[name], form, deltas.get(name))
        if not all(each.isfinite().all() for each in found if each.dtype in WORDS):
            limit = f", and {WORDS[form.dtype]} ends at {torch.finfo(form.dtype).max:g}"
            raise LoadFailed(f"{name} of {part.name} must be finite numbers, got others{limit}")
        yield from found


def _written(stored: StoredTensor, form: Form, delta: Delta | None) -> tuple[torch.Tensor, ...]:
    """Return a weight as a file has it: plain numbers, or codes and scales."""
    if form.format is not None and delta is None and stored.has_codes(form.format):
        factors = stored.factors()
        codes = stored.bytes().view(stored.dtype).view(stored.shape)
        return codes, torch.ones(stored.rows, 1) if factors is None else factors
    numbers = stored.read() if delta is None else delta.merged(stored.read().float())
    return (numbers.to(form.dtype),) if form.format is None else quantise(numbers, form.format)


def _in_file(name: str) -> str:
    layer, dot, parameter = name.rpartition(".")
    return layer + dot + NAMES.get(parameter, parameter)
