"""Weights on disk: the number formats and bytes of each part, by headers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.folders import FolderError, Tensor, single_file, weights_in
from registry.folders.model import CLASSES
from router.runtime.byte_size import format_bytes

PARTS = ("transformer", "transformer_2", "text_encoder", "image_encoder", "vae")
LEAST_SHARE = 1 / 16  # of a part's bytes: the biases of a transformer in bf16 may be fp32


@dataclass(frozen=True)
class PartOnDisk:
    """A part on disk: its bytes, and its number formats by their bytes.

    No bytes and no formats for a part that is not here, or cannot be read.
    """

    part: str
    size: int | None = None
    formats: tuple[str, ...] = ()
    main_formats: tuple[str, ...] = ()  # those of nearly all bytes

    def __str__(self) -> str:
        if self.size is None:
            return f"{self.part} not here"
        return f"{self.part} {'+'.join(self.main_formats)} {format_bytes(self.size)}"


def read(roots: Sequence[Path], files: Mapping[str, Path], experts: int) -> tuple[PartOnDisk, ...]:
    """Return a model's parts; `files` replace weights in the folders of `roots`."""
    found = []
    for part in PARTS:
        folder = next((root / part for root in roots if (root / part).is_dir()), None)
        if (part == "transformer_2" and experts == 1) or (part == "image_encoder" and folder is None):
            continue
        found.append(_part(part, folder, files.get(part)))
    return tuple(found)


def listed(parts: Sequence[PartOnDisk]) -> str:
    """Return each part with its formats and bytes; empty without any here.

    For instance `transformer BF16 2.8 GB, vae not here`.
    """
    return ", ".join(map(str, parts)) if any(part.size is not None for part in parts) else ""


def summary(parts: Sequence[PartOnDisk]) -> str:
    """Return the bytes and formats of all parts together; empty without any here.

    For instance `3.3 GB (BF16, F32); vae not here`.
    """
    here = [part for part in parts if part.size is not None]
    if not here:
        return ""
    formats = dict.fromkeys(name for part in here for name in part.main_formats)
    total = f"{format_bytes(sum(part.size or 0 for part in here))} ({', '.join(formats)})"
    lacking = ", ".join(part.part for part in parts if part.size is None)
    return f"{total}; {lacking} not here" if lacking else total


def _part(part: str, folder: Path | None, file: Path | None) -> PartOnDisk:
    try:
        if file is not None:
            tensors = single_file.stored(file, part)
        elif folder is not None:
            tensors = weights_in(folder, part, CLASSES[part][0]).read()
        else:
            return PartOnDisk(part)
        sizes: Counter[str] = Counter()
        for dtype, size in _stored(tensors.values()):
            sizes[dtype] += size
    except FolderError:
        return PartOnDisk(part)
    size = sizes.total()
    ranked = sizes.most_common()
    main = tuple(dtype for dtype, each in ranked if each >= LEAST_SHARE * size)
    return PartOnDisk(part, size, tuple(dtype for dtype, _ in ranked), main)


def _stored(tensors: Iterable[Tensor]) -> Iterator[tuple[str, int]]:
    """Yield the format and bytes of each stored tensor once, with the scales."""
    seen = set()
    for tensor in tensors:
        for each in (tensor, tensor.scale):
            if each is not None and (key := (each.file, each.offset, each.length)) not in seen:
                seen.add(key)
                yield each.dtype, each.length
