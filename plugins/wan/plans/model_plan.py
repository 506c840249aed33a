"""The plan of a model: its parts as configured, and changes for less memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from plugins.wan.plans import activations, known_parts
from plugins.wan.plans.known_parts import KnownModel, KnownPart
from plugins.wan.plans.part_bytes import Formats
from plugins.wan.weights import offload_groups
from plugins.wan.weights.device_format import AUTO
from registry import Input
from registry.folders import FolderError
from router import Alternative, Basis, LoadFailed, ModelSpec, Plan, PlannedPart

WEIGHTS, DTYPE, GROUP_OFFLOAD = "weights", "dtype", "group_offload"
OF_TRANSFORMERS = ("attention", "matmul", "provider")  # options that make other parts of the same weights
LEAST_GAIN = 0.99  # of the device bytes as configured: an alternative that takes more is none


class Change(NamedTuple):
    """A change of an entry: options, and the formats of files for parts."""

    options: Mapping[str, object]
    files: Mapping[str, str] = {}


@dataclass(frozen=True)
class _Model:
    """A model with the options that decide its bytes."""

    spec: ModelSpec
    known: KnownModel
    device: str
    options: Mapping[str, object]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def formats(self) -> Formats:
        merging = bool(self.spec.merged)
        return Formats.of(self.options, str(self.options.get(DTYPE)), self.device, merging=merging)

    def plan(self) -> Plan:
        parts = tuple(self._part(part) for part in self.known.parts)
        takes_images = Input.IMAGE in self.spec.modality.allows
        basis = Basis.FORMATS if self.files else self.known.basis
        # diffusers' own forward pass, by which group offload runs, makes a text's keys anew in each step
        keeps_texts = not self._is_offloaded
        estimate = activations.of(self.known, self.formats, takes_images=takes_images, keeps_texts=keeps_texts)
        return Plan(parts, basis, estimate)

    @property
    def _is_offloaded(self) -> bool:
        return self.options.get(GROUP_OFFLOAD) is True

    def _part(self, part: KnownPart) -> PlannedPart:
        sizes = part.sizes(self.formats, self.files.get(part.name))
        offloaded = self._is_offloaded and offload_groups.suits(part.name)
        forms = (sizes.dtype, *sorted(sizes.codes.items()))
        choices = (*forms, *self._changes(part), self.files.get(part.name), offloaded)
        identity = (part.identity, *choices)
        if not offloaded:
            return PlannedPart(part.name, sizes.total, 0, sizes.format, identity)
        return PlannedPart(part.name, sizes.offloaded, sizes.total, sizes.format, identity)

    def _changes(self, part: KnownPart) -> tuple[object, ...]:
        """Return what else changes a transformer, as in its key in the pool."""
        if not part.is_transformer:
            return ()
        merged = (part.name, self.spec.merged) if self.spec.merged else ()
        return (*merged, *(str(self.options.get(option)) for option in OF_TRANSFORMERS))


def plan(model: ModelSpec, device: str, dtype: str | None = None, changes: Sequence[Change] = ()) -> Plan | None:
    """Return the plan of `model` on `device`, None if its parts are unknown.

    `dtype` is that of the transformers if no option says it. Of the `changes` those that take less are alternatives.
    """
    try:
        known = known_parts.of(model)
    except (LoadFailed, FolderError, OSError):
        return None  # loading will report the error
    if known is None:
        return None
    options = dict(model.options) | ({} if dtype is None else {DTYPE: dtype})
    own = _Model(model, known, device, options)
    planned = own.plan()
    return replace(planned, alternatives=tuple(_alternatives(own, planned.device_bytes, changes)))


def _alternatives(own: _Model, most: int, changes: Sequence[Change]) -> Iterator[Alternative]:
    names, replaced = {part.name for part in own.known.parts}, own.spec.parts.keys()
    for change in changes:
        files = {part: form for part, form in change.files.items() if part in names}
        if files.keys() & replaced:
            continue
        options = {name: value for name, value in change.options.items() if own.options.get(name) != value}
        if files.keys() - {"text_encoder"} and own.formats.weights != AUTO:
            options[WEIGHTS] = AUTO  # else the codes of the file would be made anew
        planned = replace(own, options={**own.options, **options}, files=files).plan()
        if planned.device_bytes < LEAST_GAIN * most:
            yield Alternative(planned, options, files)
