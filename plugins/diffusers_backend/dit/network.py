"""Our forward pass of Wan's DiT over the weights of diffusers' `WanTransformer3DModel`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel
from torch.utils import _pytree as pytree

from plugins.diffusers_backend.compile import Compiler, ModelGoneError
from plugins.diffusers_backend.dit.adapted import again, product_of
from plugins.diffusers_backend.dit.attention import NATIVE
from plugins.diffusers_backend.dit.block import Weights, kind_of, run_blocks, weights_of
from plugins.diffusers_backend.dit.cross_attention import KeysAndValues, Text, image_of, text_of
from plugins.diffusers_backend.dit.fused_ops import KernelConfig, norm_modulate
from plugins.diffusers_backend.dit.linear import linear
from plugins.diffusers_backend.dit.rope import Rotation, rotation
from plugins.diffusers_backend.dit.timestep_embedding import TimestepEmbedding
from plugins.diffusers_backend.tuning.chooser import Chooser
from plugins.wan.generate.cancel_watch import check_cancelled
from plugins.wan.tuning.switches import Switches

MAX_BATCHED_TOKENS = 4096  # of a clip: from there on one pass keeps any device busy
MAX_COMPILED_TOGETHER = 8  # blocks, in half a minute; with more, one block is compiled and serves all


@dataclass(frozen=True)
class Network:
    """A transformer and the choices of its forward pass, without weights of its own."""

    model: WanTransformer3DModel
    switches: Switches
    compiler: Compiler | None
    chooser: Chooser = field(default_factory=Chooser)

    @property
    def dtype(self) -> torch.dtype:
        # the model's own property takes milliseconds: some modules stay in fp32
        return self.model.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.model.patch_embedding.weight.device

    def of(self, model: WanTransformer3DModel) -> Network:
        """Return the network of `model`, a transformer that has adapters beside these weights."""
        return self if model is self.model else replace(self, model=model)

    def batches(self, latents: torch.Tensor) -> bool:
        """Say whether guidance takes one forward pass over `latents` `(1, c, t, h, w)`, not two."""
        return self.switches.batched_guidance and latents.shape[2:].numel() // 4 <= MAX_BATCHED_TOKENS

    @torch.no_grad()
    def read_image(self, embeds: torch.Tensor) -> tuple[KeysAndValues, ...]:
        """Return each block's keys and values of CLIP's `embeds` `(images, 257, image_dim)`."""
        return image_of(self.model, embeds)

    @torch.no_grad()
    def prepare(
        self, latents: torch.Tensor, embeds: torch.Tensor, groups: int, image: Sequence[KeysAndValues] | None = None
    ) -> Pass:
        """Return the pass of all steps over `latents` for prompts `(b, 512, text_dim)`.

        `groups` is the number of timesteps in a step: 1, or one for each latent frame or token. `image` is the result
        of `read_image`, for models that read CLIP.
        """
        tokens = latents.shape[2:].numel() // 4
        kernels = self.chooser.config_for(self.model, len(embeds), tokens, self.switches)
        # a bias needs all digits of its logarithm, and few attention kernels take one
        merged = self.switches.merged_padding and embeds.dtype is torch.float32 and kernels.attention == NATIVE
        text = text_of(self.model, embeds, merged, image)
        weights = tuple(weights_of(each, self.switches.packed_qkv) for each in self.model.blocks)
        image_tokens = 0 if image is None else image[0].keys.shape[1]
        keys = text.blocks[0].text.keys.shape
        key = CompileKey(tokens, groups, keys, image_tokens, embeds.dtype, kind_of(weights), kernels)
        compiled = self.compiler.block_for(key) if self.compiler else None
        in_fp32_on_cpu = embeds.dtype is torch.float32 and latents.device.type == "cpu"
        as_complex = compiled is None and in_fp32_on_cpu and not kernels.rope_kernel
        by = rotation(self.model.rope, latents, as_complex)
        return Pass(self.model, key, text, by, weights, kernels, compiled or run_blocks)

    def compile_later(self, done: Pass, latents: torch.Tensor, embedding: TimestepEmbedding) -> None:
        if self.compiler is not None:
            self.compiler.request(done.key, _Replay(done, self.switches.packed_qkv, latents, embedding))


class CompileKey(NamedTuple):
    """The properties shared by all passes that one compiled function serves."""

    tokens: int
    groups: int
    keys: tuple[int, ...]
    image_tokens: int  # from CLIP
    dtype: torch.dtype
    blocks: Hashable
    kernels: KernelConfig

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        keys = f"keys of a text: {self.keys[1]}" + (f", of an image: {self.image_tokens}" if self.image_tokens else "")
        return f"clips of {self.tokens} tokens, timesteps: {self.groups}, {keys}, {dtype}"


class _Replay:
    """A pass like one that was done, to compile its blocks."""

    # it may wait for long in the compiler's queue, so it holds neither the text nor, strongly, the model

    def __init__(self, done: Pass, fuse: bool, latents: torch.Tensor, embedding: TimestepEmbedding) -> None:
        self._model = again(done.model)
        self._fuse = fuse
        self._key, self._latents, self._embedding = done.key, latents, embedding
        self._text = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), done.text)

    def __call__(self, blocks: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Run the pass by `blocks`; raise `ModelGoneError` if its model was unloaded."""
        if (model := self._model()) is None:
            raise ModelGoneError
        by = rotation(model.rope, self._latents, as_complex=False)
        weights = tuple(weights_of(each, self._fuse) for each in model.blocks)
        device = self._latents.device
        text = pytree.tree_map_only(torch.Tensor, lambda tensor: torch.zeros_like(tensor, device=device), self._text)
        return Pass(model, self._key, text, by, weights, self._key.kernels, blocks)(self._latents, self._embedding)


@dataclass(frozen=True)
class Pass:
    """A forward pass for one request; latents and timesteps change at each step."""

    model: WanTransformer3DModel
    key: CompileKey
    text: Text
    by: Rotation
    weights: tuple[Weights, ...]
    kernels: KernelConfig
    blocks: Callable[..., torch.Tensor]  # `run_blocks`, or that compiled

    def __call__(self, latents: torch.Tensor, embedding: TimestepEmbedding) -> torch.Tensor:
        """Return the velocity of `latents` `(1, c, t, h, w)` for each prompt, `(b, c, t, h, w)`."""
        x = self.patches(latents).unflatten(1, (len(embedding.time), -1))
        count = len(self.weights)
        if self.blocks is run_blocks:
            count = 1  # the same as all at once, with a check for cancellation before each
        elif count > MAX_COMPILED_TOGETHER:
            count = 1
            x = x.expand(self.key.keys[0], -1, -1, -1).contiguous()  # one kind of call is less to compile
        for begin in range(0, len(self.weights), count):
            check_cancelled()
            span = slice(begin, begin + count)
            contexts, weights = self.text.blocks[span], self.weights[span]
            x = self.blocks(x, embedding.time, self.by, contexts, self.text.bias, weights, self.kernels)
        shift, scale = (self.model.scale_shift_table + embedding.summary.unsqueeze(1)).unsqueeze(2).unbind(1)
        patches = self.model.proj_out(norm_modulate(x, shift, scale, self.kernels).flatten(1, 2))
        return self._unpatched(patches, latents)

    def patches(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the embedded patches `(1, tokens, d)` of `(1, c, t, h, w)`."""
        # a matrix product, as patches do not overlap
        embedding = self.model.patch_embedding
        _, high, wide = self.model.config.patch_size
        cut = latents.unflatten(4, (-1, wide)).unflatten(3, (-1, high)).permute(0, 2, 3, 5, 1, 4, 6)
        weight, product = embedding.weight.flatten(1), product_of(embedding)
        return linear(cut.flatten(4).flatten(1, 3), weight, embedding.bias, *product)

    def _unpatched(self, patches: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        _, high, wide = self.model.config.patch_size
        frames, height, width = latents.shape[2:]
        cut = patches.unflatten(2, (high, wide, -1)).unflatten(1, (frames, height // high, width // wide))
        return cut.permute(0, 6, 1, 2, 4, 3, 5).flatten(5).flatten(3, 4)
