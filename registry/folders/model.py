"""A model folder in the diffusers layout as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import FolderError
from registry.families import Family
from registry.folders.family import infer
from registry.folders.weights import Weights
from registry.modality import Modality

INDEX = "model_index.json"
TEXT_TO_VIDEO = "WanPipeline"
IMAGE_TO_VIDEO = "WanImageToVideoPipeline"
# The classes that a Wan repository names. Nothing else is imported for it: code that comes with a model never runs.
CLASSES: Mapping[str, tuple[str, ...]] = {  # by part: the library, and its classes
    "tokenizer": ("transformers", "T5TokenizerFast", "T5Tokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"),
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "image_processor": ("transformers", "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"),
    "image_encoder": ("transformers", "CLIPVisionModel", "CLIPVisionModelWithProjection"),
    "transformer": ("diffusers", "WanTransformer3DModel"),
    "transformer_2": ("diffusers", "WanTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLWan"),
    "scheduler": ("diffusers", "UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"),
}
OPTIONAL = ("image_processor", "image_encoder", "transformer_2")
CLIP_DEFAULTS = {"image_size": 224, "patch_size": 32, "hidden_size": 768}  # transformers: CLIPVisionConfig
WEIGHTLESS = ("tokenizer", "image_processor", "scheduler")


@dataclass(frozen=True)
class Part:
    """One component: folder, class, configuration, and weights if any."""

    name: str
    folder: Path
    library: str
    class_name: str
    config: Mapping[str, Any] = field(repr=False)
    weights: Weights | None = field(repr=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the module's own configuration, also from inside a whole CLIP's."""
        if self.name != "image_encoder":  # no other part has an inner configuration
            return self.config
        inner: Mapping[str, Any] = self.config.get("vision_config", self.config)
        return inner

    def refusal(self, message: str) -> FolderError:
        return FolderError(message, self.folder / "config.json")


def clip(part: Part, key: str) -> int:
    """Return an integer of an image encoder's configuration, or transformers' default."""
    value = part.settings.get(key, CLIP_DEFAULTS[key])
    return value if type(value) is int else 0


@dataclass(frozen=True)
class ModelFolder:
    """A checked folder of Wan weights.

    `boundary_ratio` is the point of the second transformer's takeover, None for one transformer.
    `expand_timesteps` marks the 2.2 models that take text with or without an image.
    """

    path: Path
    pipeline: str
    parts: Mapping[str, Part]
    boundary_ratio: float | None
    expand_timesteps: bool

    @property
    def experts(self) -> int:
        """The number of transformers that share the steps."""
        return 1 if self.boundary_ratio is None else 2

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities a model of this folder may declare, its own first."""
        if self.expand_timesteps:  # one transformer for text with and without an image, in either pipeline
            own = Modality.I2V if self.pipeline == IMAGE_TO_VIDEO else Modality.TI2V
            return tuple(dict.fromkeys((own, Modality.TI2V, Modality.T2V, Modality.I2V)))
        if self.pipeline == TEXT_TO_VIDEO:
            return (Modality.T2V,)
        transformer = self.parts["transformer"].config
        if transformer.get("pos_embed_seq_len") is not None:  # CLIP sees two images, never one
            return (Modality.FLF2V,)
        if transformer.get("image_dim") is not None:  # CLIP sees one
            return (Modality.I2V,)
        return (Modality.I2V, Modality.FLF2V)

    @property
    def image_tokens(self) -> int:
        """Return CLIP's tokens per image: one a patch and one more; 0 without CLIP."""
        if "image_encoder" not in self.parts:
            return 0
        side = clip(self.parts["image_encoder"], "image_size") // clip(self.parts["image_encoder"], "patch_size")
        return int(side * side + 1)

    @property
    def family(self) -> Family:
        """Return the closest published family, with this folder's modality, experts and sizes."""
        modality = self.modalities[0]
        kin = Modality.TI2V if self.expand_timesteps else modality  # one DiT, in either pipeline
        return infer(modality, kin, self.experts, self.parts["transformer"].config, self.parts["vae"].config)
