"""What is loaded of a folder, part by part: the registry's reader says what it is, and reads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from registry import Input, folders
from registry.folders import FolderError, ModelFolder
from registry.folders.model import IMAGE_TO_VIDEO, WEIGHTLESS
from router import LoadFailed, Modality, ModelSpec

__all__ = ["DECODER", "IMAGE_TO_VIDEO", "WEIGHTLESS", "Checkpoint", "Part", "read"]

DECODER = "vae_decoder"  # the part of a VAE that no pipeline has to know of
ENCODING, DECODING = ("encoder", "quant_conv"), ("decoder", "post_quant_conv")  # modules of a VAE


@dataclass(frozen=True)
class Part(folders.Part):
    """A component of a folder as it is loaded: of the modules in `without` it has nothing."""

    without: tuple[str, ...] = ()

    def has(self, weight: str) -> bool:
        """Say whether a weight, by its name in the files, is one of this part."""
        return not any(weight.startswith(f"{module}.") for module in self.without)

    @property
    def is_transformer(self) -> bool:
        return self.name.startswith("transformer")


@dataclass(frozen=True)
class Checkpoint:
    """A folder's parts, and how its transformers share the steps.

    `boundary_ratio` is where the second transformer takes over, None where one does every step.
    `expand_timesteps` marks the 2.2 kind that takes text with or without an image.
    """

    folder: ModelFolder
    parts: Mapping[str, Part]

    @property
    def pipeline(self) -> str:
        return self.folder.pipeline

    @property
    def boundary_ratio(self) -> float | None:
        return self.folder.boundary_ratio

    @property
    def expand_timesteps(self) -> bool:
        return self.folder.expand_timesteps

    def pooled(self, modality: Modality) -> tuple[Part, ...]:
        """Return what is loaded for `modality`: all parts but the scheduler, the VAE in two.

        Encoder and decoder have number formats of their own, and where no image comes in there is only the second.
        """
        vae = self.parts["vae"]
        others = (part for part in self.parts.values() if part.name not in ("vae", "scheduler"))
        encoder = [replace(vae, without=DECODING)] if Input.IMAGE in modality.allows else []
        return (*others, *encoder, replace(vae, name=DECODER, without=ENCODING))

    def require(self, model: ModelSpec) -> None:
        """Raise `LoadFailed` where the folder is another model than it was when the registry read it."""
        is_now = self.folder.family
        if model.modality not in self.folder.modalities:
            can = " or ".join(each.title for each in self.folder.modalities)
            raise LoadFailed(f"{model.name} is declared {model.modality.title}, its folder of weights is {can}{_AGAIN}")
        for what, declared, found in (
            ("experts", model.experts, is_now.experts),
            ("a size multiple of", model.size_multiple, is_now.size_multiple),
        ):
            if declared != found:
                raise LoadFailed(f"{model.name} was read as one with {what} {declared}, its folder has {found}{_AGAIN}")


_AGAIN = ": 'framegate reload' reads it again"


def read(folder: Path) -> Checkpoint:
    """Return what `folder` holds; raise `LoadFailed` with what is missing or wrong, by the names of parts."""
    try:
        found = folders.read(folder)
    except FolderError as error:
        raise LoadFailed(error.reason) from error
    return Checkpoint(found, {name: Part(**vars(part)) for name, part in found.parts.items()})
