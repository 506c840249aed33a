"""A model's parts with weights, by local files, else as published."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from plugins.wan import checkpoint as checkpoints
from plugins.wan.checkpoint import DECODER, DECODING, ENCODING, Part
from plugins.wan.plans import stored_formats
from plugins.wan.plans.part_bytes import Formats, Sizes, Stored, sizes_of
from plugins.wan.weights.identity import content
from registry import Input, ModelSpec, folders, part_files, published
from registry.families import find
from registry.folders import Weights, single_file
from registry.folders.expected import expected
from registry.folders.expected.text_encoder import SHARED, TIED
from registry.folders.model import CLASSES
from registry.parts import PartFile
from registry.published import PublishedPart
from router import Basis

SAMPLES, SAMPLE_BYTES = 16, 4096  # of a file: a digest of all would take minutes


@dataclass(frozen=True)
class KnownPart:
    """A part as loaded: its tensors, and an identity equal for equal weights."""

    name: str
    class_name: str
    settings: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, Stored] = field(repr=False)
    identity: Hashable
    _sizes: dict[object, Sizes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_transformer(self) -> bool:
        return self.name.startswith("transformer")

    def sizes(self, formats: Formats, form: str | None = None) -> Sizes:
        """Return the sizes in memory, as if stored in the format `form`."""
        # several alternatives of a model have a part in common, and so have several models
        key = (formats.dtype_of(self.name), formats.weights, formats.merging, form)
        if key not in self._sizes:
            tensors = self.tensors if form is None else stored_formats.stored_as(form, self.name, self.tensors)
            self._sizes[key] = sizes_of(self.name, self.class_name, self.settings, tensors, formats)
        return self._sizes[key]


@dataclass(frozen=True)
class KnownModel:
    """A model's parts with weights, and where they are known from."""

    parts: tuple[KnownPart, ...]
    basis: Basis
    frames_once: bool = False  # an image is its first frame, and not further channels


def of(model: ModelSpec) -> KnownModel | None:
    """Return the parts of `model`, None if unknown; raise `LoadFailed` for wrong files."""
    return _here(model) if model.folder is not None else _published(model)


def _here(model: ModelSpec) -> KnownModel:
    assert model.folder is not None
    checkpoint = checkpoints.read(model.folder, model.parts)
    pooled = [(part, part.weights) for part in checkpoint.pooled(model.modality) if part.weights is not None]
    official = _official(model)
    parts = tuple(_of_files(part, weights, official.get(part.name)) for part, weights in pooled)
    return KnownModel(parts, Basis.FILES, checkpoint.folder.expand_timesteps)


def _official(model: ModelSpec) -> Mapping[str, str]:
    """Return what the parts of a family's own repository are, by name."""
    family = find(model.source or "")
    if family is None or model.revision is not None:
        return {}
    known = published.parts_of(family.name, family.experts)
    names = {name: part.identity for name, part in known.items() if name not in model.parts}
    return {**names, DECODER: names["vae"]} if "vae" in names else names


def _of_files(part: Part, weights: Weights, identity: str | None) -> KnownPart:
    tensors = {name: Stored(each.dtype, each.shape) for name, each in weights.read().items() if part.has(name)}
    if SHARED in tensors:
        tensors.pop(TIED, None)
    # two models of the hub share what was published as one, whether or not both are here
    same = (identity,) if identity else (content(part.config), *sorted(map(_sampled, weights.files)))
    return KnownPart(part.name, part.class_name, part.settings, tensors, (*same, part.without))


def _sampled(file: Path) -> str:
    size = file.stat().st_size
    return _digest(file, size, file.stat().st_mtime_ns)


@lru_cache(256)
def _digest(file: Path, size: int, changed: int) -> str:
    found = sha256(str(size).encode())
    with file.open("rb") as opened:
        for number in range(SAMPLES + 1):
            opened.seek(max(0, size - SAMPLE_BYTES) * number // SAMPLES)
            found.update(opened.read(SAMPLE_BYTES))
    return found.hexdigest()


def _published(model: ModelSpec) -> KnownModel | None:
    family = find(model.source or "") or find(model.family or "")
    known = published.parts_of(family.name, model.experts) if family else {}
    if not known or family is None:
        return None
    bases, parts = {Basis.PUBLISHED}, []
    for part in _in_halves(known, Input.IMAGE in model.modality.allows):
        file = model.parts.get("vae" if part.name == DECODER else part.name)
        if file is not None:
            part, basis = _replaced(part, file)
            bases.add(basis)
        parts.append(part)
    basis = Basis.FORMATS if Basis.FORMATS in bases else Basis.PUBLISHED
    return KnownModel(tuple(parts), basis, family.size_multiple > 16)


def _in_halves(known: Mapping[str, PublishedPart], with_encoder: bool) -> Iterator[KnownPart]:
    """Yield the parts as `Checkpoint.pooled` does."""
    for name, part in known.items():
        if name == "transformer_2":  # of the first one's configuration
            first = _of_published("transformer", known["transformer"])
            yield replace(first, name=name, identity=(part.identity, ()))
            continue
        if name != "vae":
            yield _of_published(name, part)
            continue
        if with_encoder:
            yield _of_published(name, part, DECODING)
        yield replace(_of_published(name, part, ENCODING), name=DECODER, _sizes={})


@lru_cache(64)
def _of_published(name: str, part: PublishedPart, without: tuple[str, ...] = ()) -> KnownPart:
    tensors = {
        each: Stored("BF16", shape)
        for each, shape in expected(name, part.settings, part.class_name)
        if not any(each.startswith(f"{module}.") for module in without)
    }
    return KnownPart(name, part.class_name, part.settings, tensors, (part.identity, without))


def _replaced(part: KnownPart, file: PartFile) -> tuple[KnownPart, Basis]:
    """Return a part with a file's weights, by the name of an absent one."""
    path = part_files.path(file)
    if not path.exists():
        form = stored_formats.named_in(path.name)
        tensors = part.tensors if form is None else stored_formats.stored_as(form, part.name, part.tensors)
        return replace(part, tensors=tensors, identity=(str(path), part.identity), _sizes={}), Basis.FORMATS
    name = "vae" if part.name == DECODER else part.name
    base = folders.Part(name, path.parent, CLASSES[name][0], part.class_name, part.settings, None)
    stored = single_file.read(path, base)[0].read()
    tensors = {each: Stored(stored[each].dtype, stored[each].shape) for each in part.tensors.keys() & stored.keys()}
    return replace(part, tensors=tensors, identity=(_sampled(path), part.name), _sizes={}), Basis.PUBLISHED
