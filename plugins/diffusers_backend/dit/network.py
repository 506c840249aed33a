"""Our forward pass of Wan's DiT, over the weights of diffusers' `WanTransformer3DModel`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel
from torch.nn import functional
from torch.utils import _pytree as pytree

from plugins.diffusers_backend.compile import Compiler, ModelGoneError
from plugins.diffusers_backend.dit.attention import NATIVE
from plugins.diffusers_backend.dit.block import Weights, kind_of, run_blocks, weights_of
from plugins.diffusers_backend.dit.fused_ops import norm_modulate
from plugins.diffusers_backend.dit.kernel_config import KernelConfig
from plugins.diffusers_backend.dit.rope import Rotation, rotation
from plugins.diffusers_backend.dit.text import KeysAndValues, Text, image_of, text_of
from plugins.diffusers_backend.dit.timestep_embedding import TimestepEmbedding
from plugins.diffusers_backend.tuning.chooser import Chooser
from plugins.wan.generate.cancel_watch import check_cancelled
from plugins.wan.tuning.switches import Switches

MOST_BATCHED = 4096  # tokens of a clip: from there on one pass keeps any device busy
MOST_TOGETHER = 8  # blocks that are compiled as one, in half a minute; of more, one is, and serves all


@dataclass(frozen=True)
class Network:
    """A transformer, and how it is run; holds no weights of its own."""

    model: WanTransformer3DModel
    switches: Switches
    compiler: Compiler | None
    chooser: Chooser = field(default_factory=Chooser)

    @property
    def dtype(self) -> torch.dtype:
        """Return the model's, which its own property takes milliseconds to find: some modules stay in fp32."""
        return self.model.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.model.patch_embedding.weight.device

    def batches(self, latents: torch.Tensor) -> bool:
        """Say whether both halves of guidance should be one forward pass over `latents` `(1, c, t, h, w)`."""
        return self.switches.batched_guidance and latents.shape[2:].numel() // 4 <= MOST_BATCHED

    @torch.no_grad()
    def read_image(self, embeds: torch.Tensor) -> tuple[KeysAndValues, ...]:
        """Return what each block reads of CLIP's `embeds` `(images, 257, image_dim)`: the same for all prompts."""
        return image_of(self.model, embeds)

    @torch.no_grad()
    def prepare(
        self, latents: torch.Tensor, embeds: torch.Tensor, groups: int, image: Sequence[KeysAndValues] | None = None
    ) -> Pass:
        """Return the pass over latents of this shape for prompts `(b, 512, text_dim)`, with what all steps share.

        `groups` is how many timesteps it will be given: 1, or one for each latent frame or token. `image` is what
        `read_image` returned, for models that read CLIP.
        """
        tokens = latents.shape[2:].numel() // 4
        shape = self.chooser.config_for(self.model, len(embeds), tokens, self.switches)
        # a bias needs all digits of its logarithm, and few attention kernels take one
        merged = self.switches.merged_padding and embeds.dtype is torch.float32 and shape.attention == NATIVE
        text = text_of(self.model, embeds, merged, image)
        weights = tuple(weights_of(each, self.switches.packed_qkv) for each in self.model.blocks)
        seen = 0 if image is None else image[0].keys.shape[1]
        key = Alike(tokens, groups, text.blocks[0].text.keys.shape, seen, embeds.dtype, kind_of(weights), shape)
        compiled = self.compiler.block_for(key) if self.compiler else None
        in_fp32_here = embeds.dtype is torch.float32 and latents.device.type == "cpu"
        as_complex = compiled is None and in_fp32_here and not shape.rope_kernel
        return Pass(
            self.model,
            key,
            text,
            rotation(self.model.rope, latents, as_complex),
            weights,
            shape,
            compiled or run_blocks,
        )

    def compile_later(self, done: Pass, latents: torch.Tensor, moment: TimestepEmbedding) -> None:
        """Have the blocks compiled in the background for requests like the one of the pass `done`."""
        if self.compiler is not None:
            self.compiler.ask(done.key, _Again(self.model, self.switches, done, latents, moment))


class Alike(NamedTuple):
    """What passes have in common that the same compiled blocks serve."""

    tokens: int
    groups: int
    keys: tuple[int, ...]
    image: int  # tokens from CLIP
    dtype: torch.dtype
    blocks: Hashable
    shape: KernelConfig

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        keys = f"keys of a text: {self.keys[1]}" + (f", of an image: {self.image}" if self.image else "")
        return f"clips of {self.tokens} tokens, timesteps: {self.groups}, {keys}, {dtype}"


class _Again:
    """A pass like one that was done, without its text: it may wait for long, and must keep no model in memory."""

    def __init__(
        self,
        model: WanTransformer3DModel,
        switches: Switches,
        done: Pass,
        latents: torch.Tensor,
        moment: TimestepEmbedding,
    ) -> None:
        self._model = weakref.ref(model)
        self._pack = switches.packed_qkv
        self._key, self._latents, self._moment = done.key, latents, moment
        self._text = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), done.text)

    def __call__(self, blocks: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Run it by `blocks`; raise `ModelGoneError` where its model is no more."""
        if (model := self._model()) is None:
            raise ModelGoneError
        by = rotation(model.rope, self._latents, as_complex=False)
        weights = tuple(weights_of(each, self._pack) for each in model.blocks)
        device = self._latents.device
        text = pytree.tree_map_only(torch.Tensor, lambda tensor: torch.zeros_like(tensor, device=device), self._text)
        return Pass(model, self._key, text, by, weights, self._key.shape, blocks)(self._latents, self._moment)


@dataclass(frozen=True)
class Pass:
    """A forward pass of one request's: prompts and shape are given, latents and the moment change."""

    model: WanTransformer3DModel
    key: Alike
    text: Text
    by: Rotation
    weights: tuple[Weights, ...]
    shape: KernelConfig
    blocks: Callable[..., torch.Tensor]  # `run_blocks`, or the same compiled

    def __call__(self, latents: torch.Tensor, moment: TimestepEmbedding) -> torch.Tensor:
        """Return the velocity of `latents` `(1, c, t, h, w)` for each prompt, `(b, c, t, h, w)`."""
        x = self.patches(latents).unflatten(1, (len(moment.time), -1))
        count = len(self.weights)
        if self.blocks is run_blocks:
            count = 1  # the same as all at once
        elif count > MOST_TOGETHER:
            count = 1
            x = x.expand(self.key.keys[0], -1, -1, -1).contiguous()  # one kind of call is less to compile
        for begin in range(0, len(self.weights), count):
            check_cancelled()
            some = slice(begin, begin + count)
            contexts, weights = self.text.blocks[some], self.weights[some]
            x = self.blocks(x, moment.time, self.by, contexts, self.text.bias, weights, self.shape)
        shift, scale = (self.model.scale_shift_table + moment.summary.unsqueeze(1)).unsqueeze(2).unbind(1)
        patches = self.model.proj_out(norm_modulate(x, shift, scale, self.shape).flatten(1, 2))
        return self._unpatched(patches, latents)

    def patches(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the patches of `(1, c, t, h, w)` embedded, `(1, tokens, d)`: a product, as they do not overlap."""
        embedding = self.model.patch_embedding
        _, high, wide = self.model.config.patch_size
        cut = latents.unflatten(4, (-1, wide)).unflatten(3, (-1, high)).permute(0, 2, 3, 5, 1, 4, 6)
        return functional.linear(cut.flatten(4).flatten(1, 3), embedding.weight.flatten(1), embedding.bias)

    def _unpatched(self, patches: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        _, high, wide = self.model.config.patch_size
        frames, height, width = latents.shape[2:]
        cut = patches.unflatten(2, (high, wide, -1)).unflatten(1, (frames, height // high, width // wide))
        return cut.permute(0, 6, 1, 2, 4, 3, 5).flatten(5).flatten(3, 4)
