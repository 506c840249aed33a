"""The forward pass of a `WanTransformer3DModel` for a graph, in fewer nodes."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import WanTransformer3DModel

from plugins.onnx_backend.export.ops import attention, linear, modulated_norm

Rope = tuple[torch.Tensor, torch.Tensor]


class Network(torch.nn.Module):
    """A transformer's weights with a forward pass of one clip, bit for bit equal.

    Tokens are rows `(n, d)`, as a Gemm needs them. A `framewise` network (`expand_timesteps`) takes a timestep for each
    latent frame, where diffusers takes one for each token: no tensor `(n, 6, d)` is made, and the last bits may differ.
    """

    def __init__(self, model: WanTransformer3DModel, framewise: bool) -> None:
        super().__init__()
        self.model: Any = model  # diffusers' modules have no types
        self.framewise = framewise

    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the velocity of latents `(1, c, t, h, w)`.

        `timestep` is `(1,)`, framewise `(t,)`; the text is `(1, length, text_dim)`, CLIP's embedding
        `(images, tokens, image_dim)`.
        """
        model, (frames, height, width) = self.model, hidden_states.shape[2:]
        in_frame, in_height, in_width = model.config.patch_size
        rope = _tables(model, hidden_states)
        x = model.patch_embedding(hidden_states).flatten(2)[0].transpose(0, 1).contiguous()
        time, modulation = self._time_embedding(timestep, encoder_hidden_states.dtype)
        text, images = self._context(encoder_hidden_states, encoder_hidden_states_image)
        for block in model.blocks:
            x = self._block(block, x, modulation, rope, text, images)
        shift, scale = self._each(model.scale_shift_table + time.unsqueeze(1))
        x = _linear(model.proj_out, self._modulated(model.norm_out, x, scale, shift))
        grid = frames // in_frame, height // in_height, width // in_width
        patches = x.view(*grid, in_frame, in_height, in_width, -1).permute(6, 0, 3, 1, 4, 2, 5)
        return patches.reshape(1, -1, frames, height, width)

    def _time_embedding(self, timestep: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding of the timesteps `(r, d)`, and its projection for the blocks `(r, 6, d)`."""
        embedder = self.model.condition_embedder
        layers = embedder.time_embedder
        waves = embedder.timesteps_proj(timestep).to(layers.linear_1.weight.dtype)
        time = _linear(layers.linear_2, layers.act(_linear(layers.linear_1, waves))).to(dtype)
        return time, _linear(embedder.time_proj, embedder.act_fn(time)).unflatten(1, (6, -1))

    def _context(self, text: torch.Tensor, images: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        embedder = self.model.condition_embedder
        layers = embedder.text_embedder
        rows = _linear(layers.linear_2, layers.act_1(_linear(layers.linear_1, text[0])))
        return rows, None if images is None else _image_rows(embedder.image_embedder, images)

    def _block(
        self,
        block: Any,
        x: torch.Tensor,
        modulation: torch.Tensor,
        rope: Rope,
        text: torch.Tensor,
        images: torch.Tensor | None,
    ) -> torch.Tensor:
        six = block.scale_shift_table + modulation.float()
        shift, scale, gate, late_shift, late_scale, late_gate = self._each(six)
        x = self._gated(x, _self_attention(block.attn1, self._modulated(block.norm1, x, scale, shift), rope), gate)
        x = x + _cross_attention(block.attn2, block.norm2(x.float()).type_as(x), text, images)
        wide = _linear(block.ffn.net[0].proj, self._modulated(block.norm3, x, late_scale, late_shift))
        return self._gated(x, _linear(block.ffn.net[2], F.gelu(wide, approximate="tanh")).float(), late_gate)

    def _each(self, table: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the vectors of a table `(r, k, d)`: framewise `(t, 1, d)` each, else `(1, d)`."""
        vectors = table.chunk(table.shape[1], dim=1)
        return vectors if self.framewise else tuple(vector.squeeze(1) for vector in vectors)

    def _modulated(self, norm: Any, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        if not self.framewise:
            return modulated_norm(x.float(), (1 + scale)[0], shift[0].to(scale.dtype), norm.eps).type_as(x)
        by_frame = norm(x.float()).view(scale.shape[0], -1, x.shape[1])
        return (by_frame * (1 + scale) + shift).view(-1, x.shape[1]).type_as(x)

    def _gated(self, x: torch.Tensor, change: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        if self.framewise:
            change = (change.view(gate.shape[0], -1, x.shape[1]) * gate).view(-1, x.shape[1])
        else:
            change = change * gate
        return (x.float() + change).type_as(x)


def _image_rows(embedder: Any, images: torch.Tensor) -> torch.Tensor:
    """Return the rows of CLIP's embeddings `(images, tokens, dim)`, one image after the other."""
    rows = images.flatten(0, 1)
    if embedder.pos_embed is not None:
        rows = rows + embedder.pos_embed[0]
    wide = F.gelu(_linear(embedder.ff.net[0].proj, embedder.norm1(rows)))
    return embedder.norm2(_linear(embedder.ff.net[2], wide))


def _self_attention(attn: Any, x: torch.Tensor, rope: Rope) -> torch.Tensor:
    query, key = (
        _rotated(norm(_linear(layer, x)).unsqueeze(0), rope, attn.heads)
        for layer, norm in ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k))
    )
    mixed = attention(query, key, _linear(attn.to_v, x).unsqueeze(0), attn.heads)
    return _linear(attn.to_out[0], mixed[0])


def _cross_attention(attn: Any, x: torch.Tensor, text: torch.Tensor, images: torch.Tensor | None) -> torch.Tensor:
    query = attn.norm_q(_linear(attn.to_q, x)).unsqueeze(0)
    key = attn.norm_k(_linear(attn.to_k, text)).unsqueeze(0)
    mixed = attention(query, key, _linear(attn.to_v, text).unsqueeze(0), attn.heads)
    if images is not None:
        key = attn.norm_added_k(_linear(attn.add_k_proj, images)).unsqueeze(0)
        mixed = mixed + attention(query, key, _linear(attn.add_v_proj, images).unsqueeze(0), attn.heads)
    return _linear(attn.to_out[0], mixed[0])


def _rotated(x: torch.Tensor, rope: Rope, heads: int) -> torch.Tensor:
    """Return `x` `(1, n, d)` rotated by its tokens' positions, in fp32."""
    # tables with the 8 bits of bf16 would shift the positions
    return torch.onnx.ops.rotary_embedding(x.float(), *rope, interleaved=True, num_heads=heads).type_as(x)


def _tables(model: WanTransformer3DModel, latents: torch.Tensor) -> Rope:
    """Return cosines and sines `(1, n, size / 2)`; diffusers repeats each of them."""
    cosines, sines = model.rope(latents)
    return cosines[:, :, 0, 0::2].contiguous(), sines[:, :, 0, 1::2].contiguous()


def _linear(layer: Any, x: torch.Tensor) -> torch.Tensor:
    return linear(x, layer.weight, layer.bias)
