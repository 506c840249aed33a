"""What a folder in the diffusers layout holds, and which modalities it can run; reads no weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry import Input
from router import LoadFailed, Modality

TEXT_TO_VIDEO = "WanPipeline"
IMAGE_TO_VIDEO = "WanImageToVideoPipeline"
# The classes that a Wan repository names. Nothing else is imported for it: code that comes with a model never runs.
CLASSES = {
    "tokenizer": ("transformers", {"T5TokenizerFast", "T5Tokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"}),
    "text_encoder": ("transformers", {"UMT5EncoderModel"}),
    "image_processor": ("transformers", {"CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"}),
    "image_encoder": ("transformers", {"CLIPVisionModel", "CLIPVisionModelWithProjection"}),
    "transformer": ("diffusers", {"WanTransformer3DModel"}),
    "transformer_2": ("diffusers", {"WanTransformer3DModel"}),
    "vae": ("diffusers", {"AutoencoderKLWan"}),
    "scheduler": ("diffusers", {"UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"}),
}
OPTIONAL = ("image_processor", "image_encoder", "transformer_2")
WEIGHTLESS = ("tokenizer", "image_processor", "scheduler")
DECODER = "vae_decoder"  # the part of a VAE that no pipeline has to know of
ENCODING, DECODING = ("encoder", "quant_conv"), ("decoder", "post_quant_conv")  # modules of a VAE
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Part:
    """One component: its folder, and the class that reads it; of the modules in `without` it has nothing."""

    name: str
    folder: Path
    library: str
    class_name: str
    without: tuple[str, ...] = ()

    def has(self, weight: str) -> bool:
        """Say whether a weight, by its name in the files, is one of this part."""
        return not any(weight.startswith(f"{module}.") for module in self.without)

    @property
    def is_transformer(self) -> bool:
        return self.name.startswith("transformer")


@dataclass(frozen=True)
class Checkpoint:
    """A folder's `model_index.json`, checked: its pipeline class, its parts, and how the transformers share the steps.

    `boundary_ratio` is where the second transformer takes over, None where one does every step.
    `expand_timesteps` marks the 2.2 kind that takes text with or without an image.
    """

    folder: Path
    pipeline: str
    parts: Mapping[str, Part]
    boundary_ratio: float | None
    expand_timesteps: bool

    @property
    def modalities(self) -> frozenset[Modality]:
        if self.expand_timesteps:
            return frozenset({Modality.T2V, Modality.I2V, Modality.TI2V})
        if self.pipeline == IMAGE_TO_VIDEO:
            return frozenset({Modality.I2V, Modality.FLF2V})
        return frozenset({Modality.T2V})

    def pooled(self, modality: Modality) -> tuple[Part, ...]:
        """Return what is loaded for `modality`: all parts but the scheduler, the VAE in two.

        Encoder and decoder have number formats of their own, and where no image comes in there is only the second.
        """
        vae = self.parts["vae"]
        others = (part for part in self.parts.values() if part.name not in ("vae", "scheduler"))
        encoder = [replace(vae, without=DECODING)] if Input.IMAGE in modality.allows else []
        return (*others, *encoder, replace(vae, name=DECODER, without=ENCODING))

    def require(self, modality: Modality) -> None:
        """Raise `LoadFailed` where this folder cannot run `modality`."""
        if modality not in self.modalities:
            can = " or ".join(each.word for each in Modality if each in self.modalities)
            raise LoadFailed(f"{self.folder} holds a {self.pipeline} for {can}, the model is declared {modality.word}")


def read(folder: Path) -> Checkpoint:
    """Return what `folder` says it holds; raise `LoadFailed` with what is missing or unknown."""
    index = _index(folder)
    pipeline = index.get("_class_name")
    if pipeline not in (TEXT_TO_VIDEO, IMAGE_TO_VIDEO):
        raise LoadFailed(f"{folder} must hold a {TEXT_TO_VIDEO} or {IMAGE_TO_VIDEO}, got {pipeline!r}")
    parts = {name: part for name in CLASSES if (part := _part(folder, name, index.get(name))) is not None}
    ratio = index.get("boundary_ratio")
    if ratio is not None and "transformer_2" not in parts:
        raise LoadFailed(f"{folder} has boundary_ratio {ratio}, so it needs a transformer_2; none is listed")
    return Checkpoint(folder, pipeline, parts, ratio, bool(index.get("expand_timesteps", False)))


def _part(folder: Path, name: str, entry: object) -> Part | None:
    """Return the part that `entry` of a model index names, None where it may be, and is, left out."""
    if entry in (None, [None, None]):
        if name in OPTIONAL:
            return None
        raise LoadFailed(f"{folder}/model_index.json must list a {name}, it does not")
    library, known = CLASSES[name]
    match entry:
        case [str(given), str(class_name)] if given == library and class_name in known:
            part = Part(name, folder / name, library, class_name)
        case _:
            needed = " or ".join(sorted(known))
            raise LoadFailed(f"{name} of {folder}/model_index.json must be {needed} of {library}, got {entry!r}")
    if not part.folder.is_dir():
        raise LoadFailed(f"{folder} needs a folder {name}, which its model_index.json lists; it is not there")
    if name not in WEIGHTLESS:
        _require_safetensors(part.folder)
    return part


def _require_safetensors(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    got = f"only {', '.join(pickles)}; pickled weights can run code and are not read" if pickles else "none"
    raise LoadFailed(f"{folder} needs weights in *.safetensors, got {got}")


def _index(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "model_index.json").read_bytes())
    except OSError as error:
        raise LoadFailed(f"{folder} needs a model_index.json that can be read, got: {error.strerror}") from error
    except ValueError as error:
        raise LoadFailed(f"{folder}/model_index.json must be JSON, it is not") from error
    if not isinstance(value, dict):
        raise LoadFailed(f"{folder}/model_index.json must hold a JSON object, got {type(value).__name__}")
    return value
