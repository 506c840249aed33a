"""The estimated bytes of a job beside the weights, by its phases.

The factors are the largest sums of live tensors in PyTorch's own operations: of the VAE's halves at their true width,
of a block of the transformer and of umT5 at a small one, on a CPU or on no device (`test_activations.py`). The text
encoder's is up to two thirds too much, and the largest phase of no published model. No GPU has measured any: kernels
of ours keep fewer tensors alive, those of libraries may take workspaces, and an allocator loses memory to gaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plugins.wan.checkpoint import DECODER
from plugins.wan.plans.known_parts import KnownModel
from plugins.wan.plans.part_bytes import BYTES, FP32, Formats
from registry.families import PROMPT_TOKENS

DEFAULTS = {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40}  # diffusers'
FRAMES = 4  # of pixels in one latent frame
PATCH = 2  # latents, wide and high
BATCHED_TOKENS = 4096  # up to them both halves of guidance are one forward pass
# widths of a token in one block: around attention by the number's bytes, and beside the feed-forward's two rows
ATTENTION, BESIDE_FFN = {2: 13.0, 4: 10.0}, 5.0
# activations of a chunk of four frames at full size and base width: (the VAE of 2.1, the residual one of 2.2)
DECODING, ENCODING = (13.3, 21.1), (9.3, 11.5)
ENCODER_WIDTHS, ENCODER_ROWS = 6, 3  # of a token in umT5: beside attention, and in the feed-forward layer


@dataclass(frozen=True)
class Phases:
    """The settings on which each phase's bytes depend.

    `kept_texts` is the number of transformers that keep a prompt's keys and values in each block for a whole job.
    `item` and `decoder_item` are bytes of a number in the transformers and in the VAE's decoder.
    """

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    kept_texts: int
    encodes: int | None  # frames of an image's video, None without images; 0 for all
    item: int
    decoder_item: int

    def __call__(self, width: int, height: int, num_frames: int) -> int:
        """Return the bytes of the largest phase of a job."""
        pixels = width * height
        encoding = 0.0 if self.encodes is None else self._encoding(pixels, self.encodes or num_frames)
        return int(max(self._text(), encoding, self._denoising(pixels, num_frames), self._decoding(pixels)))

    def _denoising(self, pixels: int, num_frames: int) -> float:
        named = {**DEFAULTS, **self.transformer}
        width, ffn = int(named["num_attention_heads"] * named["attention_head_dim"]), int(named["ffn_dim"])
        frames = 1 + (num_frames - 1) // FRAMES
        tokens = frames * pixels // (self._scale * PATCH) ** 2
        passes = 2 if tokens <= BATCHED_TOKENS else 1
        widest = max(ATTENTION[self.item] * width, BESIDE_FFN * width + 2 * ffn)
        keys_and_values = 2 * width * int(named["num_layers"])
        text = 2 * PROMPT_TOKENS * keys_and_values * self.kept_texts  # of the prompt and the negative one
        return self.item * (passes * tokens * widest + text)

    def _decoding(self, pixels: int) -> float:
        base = int(self.vae.get("decoder_base_dim") or self.vae.get("base_dim", 96))
        return self.decoder_item * FRAMES * pixels * base * DECODING[self._residual] / self._patch**2

    def _encoding(self, pixels: int, num_frames: int) -> float:
        base, chunk = int(self.vae.get("base_dim", 96)), min(FRAMES, num_frames)
        images = 2 * 3 * pixels * num_frames  # the frames, most of them blank, and a copy
        return BYTES[FP32] * (images + chunk * pixels * base * ENCODING[self._residual] / self._patch**2)

    def _text(self) -> float:
        width, ffn, heads = (int(self.text_encoder.get(key, 0)) for key in ("d_model", "d_ff", "num_heads"))
        scores = heads * PROMPT_TOKENS**2 * (BYTES[FP32] + self.item)
        return self.item * PROMPT_TOKENS * (ENCODER_WIDTHS * width + ENCODER_ROWS * ffn) + scores

    @property
    def _scale(self) -> int:
        return int(self.vae.get("scale_factor_spatial", 8))

    @property
    def _patch(self) -> int:
        return int(self.vae.get("patch_size") or 1)

    @property
    def _residual(self) -> int:
        return int(bool(self.vae.get("is_residual")))


def of(model: KnownModel, formats: Formats, *, takes_images: bool, keeps_texts: bool) -> Phases | None:
    """Return the estimate for a model, None for parts of unknown settings."""
    named = {part.name: part for part in model.parts}
    if not {"transformer", DECODER, "text_encoder"} <= named.keys():
        return None
    encodes = (1 if model.frames_once else 0) if takes_images else None
    return Phases(
        named["transformer"].settings,
        named[DECODER].settings,
        named["text_encoder"].settings,
        sum(part.is_transformer for part in model.parts) if keeps_texts else 0,
        encodes,
        BYTES[formats.dtype],
        BYTES[formats.decoder_dtype],
    )
