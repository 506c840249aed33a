"""Train the diffusion transformers: flow matching on latents, with the text as the pipelines pad it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from nano import parts
from nano.captions import FULL, MOTION, PARTIAL, describe
from nano.scene import Subject
from nano.training.latents import Latents
from nano.training.loop import Draw, Loss, Plan
from nano.training.text import SLOTS, embed, tokenize

SHIFT = 1.0  # of the noise levels: small pictures have little redundancy, so the shapes are told apart late
UNTOLD = 0.1  # of the captions are empty, for guidance
CLIPS = 64  # in a step, of the usual size
STILLS = 3  # times as many in a step of first frames alone, which costs as much
FOREGROUND = 4.0  # how much more a latent of the shape counts than one of the plain background
COPIED = 3.0  # how much more the first frame counts where it is the image, which reaches the model beside the noise
DIFFERS = 0.3  # mean square over channels, from which on a latent is not background
Texts = Callable[[Sequence[str]], torch.Tensor]


@dataclass(frozen=True)
class Task:
    """What one transformer learns: the noise levels it is called for, and how an image reaches it."""

    plan: Plan
    low: float = 0.0  # noise levels, 0...1
    high: float = 1.0
    # "channels": beside the noisy latents; "frame": in place of the first ones, every fourth step
    image: str | None = None
    stills: bool = False  # every other step is of first frames: shapes are learned from them sooner
    start: str | None = None  # the stage whose weights it starts from

    @property
    def in_channels(self) -> int:
        return parts.I2V_CHANNELS if self.image == "channels" else parts.Z_DIM


# the hardest one first; the experts start from it, as Wan 2.2's low-noise expert started from Wan 2.1
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
    """Cross-attention to SLOTS rows of text and one of padding, which stands for all the others.

    The pipelines pad the text to 512 rows of zeros and mask none, so these rows are all alike:
    one of them with the logarithm of their number added to its score gives the same result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.zeros(1, 1, 1, SLOTS + 1)
        self.bias[..., -1] = math.log(parts.TEXT_TOKENS - SLOTS)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):  # type: ignore
        bias = self.bias.to(hidden_states.device, hidden_states.dtype)
        return super().__call__(attn, hidden_states, encoder_hidden_states, bias, rotary_emb)


def merge_padding(model: WanTransformer3DModel) -> None:
    """Let `model` take text of `(b, SLOTS + 1, d)`, the last row zeros."""
    for block in model.blocks:
        block.attn2.set_processor(MergedPadding())


def texts(tokenizer: PreTrainedTokenizerFast, encoder: UMT5EncoderModel, device: torch.device) -> Texts:
    """Return a function that embeds captions as `merge_padding` wants them."""

    @torch.no_grad()
    def embedded(captions: Sequence[str]) -> torch.Tensor:
        ids, mask = (tensor.to(device) for tensor in tokenize(tokenizer, captions))
        hidden = embed(encoder, ids, mask)
        return torch.cat([hidden, torch.zeros_like(hidden[:, :1])], dim=1)

    return embedded


def start_from(model: WanTransformer3DModel, base: dict[str, torch.Tensor]) -> None:
    """Copy weights of a text-to-video transformer; input channels that it does not have start at zero."""
    key = "patch_embedding.weight"
    kernel = torch.zeros_like(model.state_dict()[key])
    kernel[:, : base[key].shape[1]] = base[key]
    model.load_state_dict({**base, key: kernel})


def loss(task: Task, model: WanTransformer3DModel, data: Sequence[Latents], text: Texts, device: torch.device) -> Loss:
    """Return the loss of a task; `data` holds the usual size first, which three steps of four take."""
    merge_padding(model)
    model.set_attention_backend("_native_math")  # for so few tokens; the fused backward of a CPU is 50 times slower
    batches = [max(8, int(CLIPS * data[0].clips[0].numel() / one.clips[0].numel())) for one in data]

    def step(draw: Draw) -> dict[str, torch.Tensor]:
        which = 0 if draw.step // 4 % 4 < 3 else 1 + (draw.step // 16) % (len(data) - 1)
        image = task.image if task.image == "channels" or draw.step % 4 == 3 else None
        still = task.stills and draw.step % 4 in (1, 2)
        source = data[which]
        available = len(source.images) if image == "channels" else len(source.clips)
        rows = draw.rng.integers(available, size=batches[which] * (STILLS if still else 1))
        clean = source.clips[rows][:, :, : 1 if still else None].float().to(device)
        hidden = text([_caption(source.subjects[row], image, draw.rng) for row in rows])
        level = _levels(task, len(rows), draw).to(device)
        noise = torch.randn(clean.shape, generator=draw.torch).to(device)
        noisy = torch.lerp(clean, noise, level.view(-1, 1, 1, 1, 1))
        timestep, first = level * 1000.0, 0
        if image == "channels":
            noisy = torch.cat([noisy, mask_of_first(clean), source.images[rows].float().to(device)], dim=1)
        elif image == "frame":
            noisy[:, :, 0] = clean[:, :, 0]
            timestep = token_timesteps(timestep, clean)
            first = 1
        with torch.autocast(device.type, torch.bfloat16):
            velocity = model(noisy, timestep, hidden, return_dict=False)[0].float()
        weight = emphasis(clean)
        if image == "channels":
            weight[:, :, 0] *= COPIED
        error = (velocity - (noise - clean)).square() * weight
        return {"loss": error[:, :, first:].mean()}

    return step


def emphasis(clean: torch.Tensor) -> torch.Tensor:
    """Return how much each latent of `(b, c, t, h, w)` counts, `(b, 1, t, h, w)`, 1 on average over each clip."""
    behind = clean.flatten(3).median(dim=3).values[..., None, None]  # a shape covers less than half of a frame
    shape = (clean - behind).square().mean(dim=1, keepdim=True) > DIFFERS
    weight = torch.where(shape, FOREGROUND, 1.0)
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)


def mask_of_first(latents: torch.Tensor) -> torch.Tensor:
    """Return the mask that image-to-video takes, `(b, 4, t, h, w)`: ones for the first frame."""
    mask = torch.zeros(latents.shape[0], 4, *latents.shape[2:], device=latents.device)
    mask[:, :, 0] = 1.0
    return mask


def token_timesteps(timestep: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Return a timestep for each token of the latents, `(b, n)`: zero for those of the first frame, which is given."""
    frames, height, width = latents.shape[2], latents.shape[3] // 2, latents.shape[4] // 2
    each = timestep.view(-1, 1, 1).repeat(1, frames, height * width)
    each[:, 0] = 0.0
    return each.flatten(1)


def _levels(task: Task, count: int, draw: Draw) -> torch.Tensor:
    """Return noise levels spread as the scheduler's steps are, within those of the task; evenly over the batch."""
    even = (torch.arange(count) + torch.rand(count, generator=draw.torch)) / count
    low, high = (bound / (SHIFT - (SHIFT - 1.0) * bound) for bound in (task.low, task.high))
    unshifted = low + (high - low) * even[torch.randperm(count, generator=draw.torch)]
    return SHIFT * unshifted / (1.0 + (SHIFT - 1.0) * unshifted)


def _caption(subject: Subject, image: str | None, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < UNTOLD:
        return ""
    if image is not None:
        return describe(subject, rng, MOTION if kind < 0.6 else FULL).text
    return describe(subject, rng, FULL if kind < 0.75 else PARTIAL).text
