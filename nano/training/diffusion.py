"""Train the diffusion transformers by flow matching on latents."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor, WanTransformer3DModel
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from nano import parts
from nano.captions import FULL, MOTION, PARTIAL, describe
from nano.scene import Subject
from nano.training.latents import Latents
from nano.training.loop import Draw, Loss, Plan, autocast
from nano.training.text import SLOTS, embed, tokenize

EMPTY = 0.1  # the share of empty captions, for guidance
CLIPS = 64  # clips in a step, of the usual size
STILLS = 3  # the factor of clips in a step of first frames alone, for about the same cost
FOREGROUND = 4.0  # the weight of a latent of the shape; a latent of the background has 1
COPIED = 3.0  # the weight of a first frame that is the image and reaches the model beside the noise
DIFFERS = 0.3  # the least mean square over channels of a latent that is not background
Texts = Callable[[Sequence[str]], torch.Tensor]


@dataclass(frozen=True)
class Task:
    """The task of one transformer: its noise levels and the kind of image input."""

    plan: Plan
    low: float = 0.0  # noise levels, 0...1
    high: float = 1.0
    # "channels": beside the noisy latents; "frame": replaces the first latents, every fourth step
    image: str | None = None
    stills: bool = False  # every other step takes first frames alone: shapes are learned sooner
    start: str | None = None  # the stage of the initial weights

    @property
    def in_channels(self) -> int:
        return parts.I2V_CHANNELS if self.image == "channels" else parts.Z_DIM


# the hardest task first: the experts start from its weights, as Wan 2.2's low-noise expert started from Wan 2.1
TASKS = (
    Task(Plan("ti2v", steps=17400, rate=2e-3, muon=0.015), image="frame", stills=True),
    Task(Plan("t2v-high", steps=80, rate=5e-4, muon=4e-3, warmup=30, memory=0.98), low=0.875, start="ti2v"),
    Task(
        Plan("t2v-low", steps=400, rate=5e-4, muon=4e-3, warmup=30, memory=0.98), high=0.875, stills=True, start="ti2v"
    ),
    Task(Plan("i2v-high", steps=450, rate=1e-3, muon=8e-3), low=0.9, image="channels", start="ti2v"),
    Task(Plan("i2v-low", steps=900, rate=1e-3, muon=8e-3), high=0.9, image="channels", start="ti2v"),
)


class MergedPadding(WanAttnProcessor):
    """Cross-attention to SLOTS rows of text and a single row for all padding.

    The pipelines pad the text to 512 rows of zeros and mask none, so the rows of padding are all alike: a single row
    with the logarithm of their number added to its score gives the same result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.zeros(1, 1, 1, SLOTS + 1)
        self.bias[..., -1] = math.log(parts.TEXT_TOKENS - SLOTS)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):  # type: ignore
        bias = self.bias.to(hidden_states.device, hidden_states.dtype)
        return super().__call__(attn, hidden_states, encoder_hidden_states, bias, rotary_emb)


def merge_padding(model: WanTransformer3DModel) -> None:
    """Let `model` read one row of zeros for all padding of a prompt.

    Its text is `(b, SLOTS + 1, d)` then.
    """
    blocks: Any = model.blocks
    for block in blocks:
        block.attn2.set_processor(MergedPadding())


def prepare(model: WanTransformer3DModel) -> None:
    """Speed up a transformer on texts of `SLOTS` tokens."""
    merge_padding(model)
    model.set_attention_backend("_native_math")  # for so few tokens; the fused backward of a CPU is 50 times slower


def texts(tokenizer: PreTrainedTokenizerFast, encoder: UMT5EncoderModel, device: torch.device) -> Texts:
    """Return a function that embeds captions for a model of `merge_padding`."""

    @torch.no_grad()
    def embedded(captions: Sequence[str]) -> torch.Tensor:
        ids, mask = (tensor.to(device) for tensor in tokenize(tokenizer, captions))
        hidden = embed(encoder, ids, mask)
        return torch.cat([hidden, torch.zeros_like(hidden[:, :1])], dim=1)

    return embedded


def start_from(model: WanTransformer3DModel, base: dict[str, torch.Tensor]) -> None:
    """Copy the weights of a text-to-video transformer; additional input channels start at zero."""
    key = "patch_embedding.weight"
    kernel = torch.zeros_like(model.state_dict()[key])
    kernel[:, : base[key].shape[1]] = base[key]
    model.load_state_dict({**base, key: kernel})


def loss(task: Task, model: WanTransformer3DModel, data: Sequence[Latents], text: Texts, device: torch.device) -> Loss:
    """Return the loss of a task on the latents of all sizes."""
    prepare(model)
    batches = [max(8, int(CLIPS * data[0].clips[0].numel() / one.clips[0].numel())) for one in data]

    def step(draw: Draw) -> dict[str, torch.Tensor]:
        # three steps of four take the usual size, which is the first
        size = 0 if draw.step // 4 % 4 < 3 else 1 + (draw.step // 16) % (len(data) - 1)
        image = task.image if task.image == "channels" or draw.step % 4 == 3 else None
        still = task.stills and draw.step % 4 in (1, 2)
        source = data[size]
        available = len(source.images) if image == "channels" else len(source.clips)
        rows = draw.rng.integers(available, size=batches[size] * (STILLS if still else 1))
        clean = source.clips[rows][:, :, : 1 if still else None].float().to(device)
        hidden = text([_caption(source.subjects[row], image, draw.rng) for row in rows])
        level = _levels(task, len(rows), draw).to(device)
        noise = torch.randn(clean.shape, generator=draw.torch).to(device)
        images = source.images[rows].float().to(device) if image == "channels" else None
        noisy, timestep = _inputs(clean, noise, level, image, images)
        with autocast(device):
            velocity = model(noisy, timestep, hidden, return_dict=False)[0].float()
        weight = emphasis(clean)
        if image == "channels":
            weight[:, :, 0] *= COPIED
        error = (velocity - (noise - clean)).square() * weight
        return {"loss": error[:, :, 1 if image == "frame" else 0 :].mean()}

    return step


def _inputs(
    clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, image: str | None, images: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    noisy, timestep = torch.lerp(clean, noise, level.view(-1, 1, 1, 1, 1)), level * 1000.0
    if images is not None:
        return torch.cat([noisy, mask_of_first(clean), images], dim=1), timestep
    if image == "frame":
        noisy[:, :, 0] = clean[:, :, 0]
        return noisy, token_timesteps(timestep, clean)
    return noisy, timestep


def emphasis(clean: torch.Tensor) -> torch.Tensor:
    """Return the weights of latents in the loss, 1 on average over a clip.

    `clean` is `(b, c, t, h, w)`, the weights are `(b, 1, t, h, w)`.
    """
    behind = clean.flatten(3).median(dim=3).values[..., None, None]  # a shape covers less than half of a frame
    shape = (clean - behind).square().mean(dim=1, keepdim=True) > DIFFERS
    weight = torch.where(shape, FOREGROUND, 1.0)
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)


def mask_of_first(latents: torch.Tensor) -> torch.Tensor:
    """Return the mask of the first frame for image-to-video: `(b, 4, t, h, w)`."""
    mask = torch.zeros(latents.shape[0], 4, *latents.shape[2:], device=latents.device)
    mask[:, :, 0] = 1.0
    return mask


def token_timesteps(timestep: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Return the timesteps `(b, n)` of all tokens, zero in the first frame."""
    frames, height, width = latents.shape[2], latents.shape[3] // 2, latents.shape[4] // 2
    each = timestep.view(-1, 1, 1).repeat(1, frames, height * width)
    each[:, 0] = 0.0
    return each.flatten(1)


def _levels(task: Task, count: int, draw: Draw) -> torch.Tensor:
    """Return noise levels of the task, spread evenly."""
    # not shifted towards noise: small pictures have little redundancy, so the shapes are told apart late
    even = (torch.arange(count) + torch.rand(count, generator=draw.torch)) / count
    return task.low + (task.high - task.low) * even[torch.randperm(count, generator=draw.torch)]


def _caption(subject: Subject, image: str | None, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < EMPTY:
        return ""
    if image is not None:
        return describe(subject, rng, MOTION if kind < 0.6 else FULL).text
    return describe(subject, rng, FULL if kind < 0.75 else PARTIAL).text
