"""The parts of a model folder as they are loaded; reads no weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from registry import Input, folders, part_files
from registry.folders import FolderError, ModelFolder
from registry.parts import NO_FILES, PartFiles
from router import LoadFailed, Modality, ModelSpec

DECODER = "vae_decoder"  # a part of ours, of which the pipelines know nothing
ENCODING, DECODING = ("encoder", "quant_conv"), ("decoder", "post_quant_conv")  # modules of a VAE


@dataclass(frozen=True)
class Part(folders.Part):
    """A component of a folder as loaded, without the modules named in `without`."""

    without: tuple[str, ...] = ()

    def has(self, weight: str) -> bool:
        """Say whether this part has a weight of this name in the files."""
        return not any(weight.startswith(f"{module}.") for module in self.without)

    @property
    def is_transformer(self) -> bool:
        return self.name.startswith("transformer")


@dataclass(frozen=True)
class Checkpoint:
    """A folder and its parts as loaded."""

    folder: ModelFolder
    parts: Mapping[str, Part]

    def pooled(self, modality: Modality) -> tuple[Part, ...]:
        """Return the parts to load for `modality`: no scheduler, the VAE in halves."""
        vae = self.parts["vae"]
        others = (part for part in self.parts.values() if part.name not in ("vae", "scheduler"))
        # the halves have number formats of their own, and only images need the encoder
        encoder = [replace(vae, without=DECODING)] if Input.IMAGE in modality.allows else []
        return (*others, *encoder, replace(vae, name=DECODER, without=ENCODING))

    def require(self, model: ModelSpec) -> None:
        """Raise `LoadFailed` if the folder no longer holds the model that the registry read."""
        family = self.folder.family
        if model.modality not in self.folder.modalities:
            supported = " or ".join(each.title for each in self.folder.modalities)
            raise LoadFailed(
                f"{model.name} is declared {model.modality.title}, its folder of weights is {supported}{_RELOAD}"
            )
        for what, declared, found in (
            ("experts", model.experts, family.experts),
            ("a size multiple of", model.size_multiple, family.size_multiple),
        ):
            if declared != found:
                raise LoadFailed(
                    f"{model.name} was read as one with {what} {declared}, its folder has {found}{_RELOAD}"
                )


_RELOAD = ": 'framegate reload' reads it again"


def read(folder: Path, files: PartFiles = NO_FILES) -> Checkpoint:
    """Return the checkpoint in `folder`, with `files` for some parts.

    Raises `LoadFailed` naming missing or wrong parts.
    """
    try:
        found = folders.read(folder, part_files.paths(files))
    except FolderError as error:
        raise LoadFailed(error.reason) from error
    return Checkpoint(found, {name: Part(**vars(part)) for name, part in found.parts.items()})
