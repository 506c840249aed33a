"""One part's weights in one file: safetensors or GGUF, in any known spelling."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import FolderError
from registry.folders import gguf, spellings
from registry.folders.expected import vae
from registry.folders.expected.numbers import Numbers
from registry.folders.files import GGUF, beginning
from registry.folders.model import Part
from registry.folders.safetensors import WITH_CODES, Tensor, read_header
from registry.folders.scales import attached
from registry.folders.weights import Shapes, Weights, shapes_of

# (1, rows, width): ggml drops last sides of 1, which are torch's first
TABLES = ("scale_shift_table", ".pos_embed")


@dataclass(frozen=True)
class SingleFile(Weights):
    """A file in any spelling; `layout` is that of its base's VAE."""

    layout: vae.Layout | None = None

    def read(self) -> dict[str, Tensor]:
        """Return the tensors by diffusers' and transformers' names; raise `FolderError` otherwise."""
        path = self.files[0]
        found: dict[str, Tensor] = {}
        for name, tensor in stored(path, self.part).items():
            ours = spellings.renamed(self.part, name, self.layout)
            if ours in found:
                raise _twice(path, self.part, ours)
            if ours.endswith(TABLES) and len(tensor.shape) == 2:
                tensor = tensor._replace(shape=(1, *tensor.shape))
            found[ours] = tensor
        return found


def stored(path: Path, part: str) -> Mapping[str, Tensor]:
    """Return a part's tensors by the file's names without prefixes.

    Raises `FolderError` for a file that cannot be read, or that has none.
    """
    head, _ = beginning(path, f"{path.name} of {part}", gguf=True)
    if head.startswith(GGUF):
        tensors = gguf.read(path, part)
        names = spellings.own(part, tensors)
        _require_part(path, part, names)
    else:
        header = read_header(path, part, WITH_CODES)
        found = header.tensors()
        names = spellings.own(part, found)
        _require_part(path, part, names)  # first: another part's tokenizer would be refused as codes
        tensors = attached({name: found[name] for name in names}, part, [header])
    if not names:
        raise FolderError(f"{path.name} of {part} holds no tensor of a {part}", path)
    by_inner: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if (inner := names.get(name)) is None:
            continue
        if inner in by_inner:
            raise _twice(path, part, inner)
        by_inner[inner] = tensor
    return by_inner


def read(path: Path, part: Part) -> tuple[Weights, Shapes]:
    """Return the weights of `part` in `path`, and their tensors' shapes; raise `FolderError` otherwise."""
    if part.name != "vae":
        weights = SingleFile(part.name, (path,))
    else:
        numbers = Numbers(part.name, part.settings, part.folder / "config.json")
        weights = SingleFile(part.name, (path,), layout=vae.layout(numbers))
    return weights, shapes_of(weights.read())


def _require_part(path: Path, part: str, names: Mapping[str, str]) -> None:
    if (other := spellings.other_part(part, names.values())) is not None:
        message = f"{path.name} of {part} holds the weights of a {other}: write the file as parts.{other}"
        raise FolderError(message, path)


def _twice(path: Path, part: str, name: str) -> FolderError:
    return FolderError(f"{path.name} of {part} holds {name[:100]!r} twice, by two names", path)
