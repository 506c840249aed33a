"""Checks that a part's tensors have the shapes of its configuration.

Names, shapes and defaults are those of diffusers' and transformers' classes.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from registry.errors import FolderError
from registry.folders.model import Part

Shape = tuple[int, ...]
Expected = Iterator[tuple[str, Shape]]

MOST_BLOCKS = 1000
MOST_SIDE = 2**20  # of a tensor
MOST_HEAD = 1024  # numbers; the tables of rotations have a column for each
MOST_ROPE = 8192  # positions, each a row of these tables, which are in no file
MOST_LEVELS, MOST_MULTIPLE = 16, 64  # of a VAE
MOST_SCALE = 64  # pixels or frames a latent


class _Numbers:
    """A part's configuration, whose numbers are read within bounds."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._settings = part.settings

    def whole(self, key: str, default: int, most: int = MOST_SIDE) -> int:
        value = self._settings.get(key, default)
        if type(value) is not int or not 1 <= value <= most:
            raise self._wrong(key, f"from 1 to {most}", value)
        return value

    def perhaps(self, key: str, most: int = MOST_SIDE, *, zero: bool = False) -> int | None:
        """Return an optional number; `zero` counts 0 as absent."""
        value = self._settings.get(key)
        if value is None or (zero and type(value) is int and value == 0):
            return None
        return self.whole(key, 0, most)

    def several(self, key: str, default: list[int], count: tuple[int, int], most: int) -> list[int]:
        value = self._settings.get(key, default)
        fewest, largest = count
        if not isinstance(value, list) or not fewest <= len(value) <= largest:
            many = str(fewest) if fewest == largest else f"{fewest} to {largest}"
            raise self._wrong(key, f"a list of {many} numbers", value)
        for each in value:
            if type(each) is not int or not 1 <= each <= most:
                raise self._wrong(key, f"numbers from 1 to {most}", each)
        return value

    def listed(self, key: str, count: int, kinds: tuple[type, ...], default: list[Any] | None = None) -> None:
        """Raise unless the optional value at `key` is a list of `count` such values."""
        value = self._settings.get(key, default)
        if value is None and key not in self._settings:
            return
        if not isinstance(value, list) or len(value) != count or not all(type(each) in kinds for each in value):
            raise self._wrong(key, f"a list of {count}", value)

    def flag(self, key: str) -> None:
        value = self._settings.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)

    def text(self, key: str, default: str) -> str:
        value = self._settings.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a text", value)
        return value

    def _wrong(self, key: str, needed: str, got: object) -> FolderError:
        return self.part.refusal(f"{key} of {self.part.name} must be {needed}, got {str(got)[:100]}")


def require_shapes(part: Part, tensors: Mapping[str, Shape]) -> None:
    """Raise `FolderError` if a part's tensors do not fit its configuration."""
    # the classes allocate by configuration before they read a tensor, however large
    # some versions of transformers write CLIP's names with a prefix
    prefix = "vision_model." if part.name == "image_encoder" else ""
    named = {name.removeprefix(prefix): shape for name, shape in tensors.items()}
    for name, needed in EXPECTED[part.name](_Numbers(part), named):
        if (got := named.get(name)) is None:
            raise part.refusal(f"{part.name} lacks the tensor {name}, which its config.json needs")
        if got != needed:
            raise part.refusal(f"{name} of {part.name} is {_by(got)}, its config.json needs {_by(needed)}")


def _transformer(numbers: _Numbers, tensors: Mapping[str, Shape]) -> Expected:
    heads, head = numbers.whole("num_attention_heads", 40), numbers.whole("attention_head_dim", 128, MOST_HEAD)
    patch = numbers.several("patch_size", [1, 2, 2], (3, 3), MOST_SCALE)
    takes = numbers.whole("in_channels", 16)
    makes = numbers.perhaps("out_channels", zero=True) if "out_channels" in numbers.part.settings else 16
    numbers.whole("rope_max_seq_len", 1024, MOST_ROPE)
    width = heads * head
    yield "patch_embedding.weight", (width, takes, *patch)
    yield "proj_out.weight", ((makes or takes) * prod(patch), width)
    yield "condition_embedder.time_embedder.linear_1.weight", (width, numbers.whole("freq_dim", 256))
    yield "condition_embedder.text_embedder.linear_1.weight", (width, numbers.whole("text_dim", 4096))
    image, tokens = numbers.perhaps("image_dim"), numbers.perhaps("pos_embed_seq_len")
    if image is not None:
        yield "condition_embedder.image_embedder.norm1.weight", (image,)
        if tokens is not None:
            yield "condition_embedder.image_embedder.pos_embed", (1, tokens, image)
    wide, added = numbers.whole("ffn_dim", 13824), numbers.perhaps("added_kv_proj_dim")
    for block in _blocks(numbers, "num_layers", 40, "blocks.", tensors):
        yield f"{block}.attn1.to_q.weight", (width, width)
        yield f"{block}.ffn.net.0.proj.weight", (wide, width)
        if added is not None:
            yield f"{block}.attn2.add_k_proj.weight", (width, added)


def _text_encoder(numbers: _Numbers, tensors: Mapping[str, Shape]) -> Expected:
    width, heads, head = numbers.whole("d_model", 512), numbers.whole("num_heads", 6), numbers.whole("d_kv", 64)
    table = "shared.weight" if "shared.weight" in tensors else "encoder.embed_tokens.weight"
    yield table, (numbers.whole("vocab_size", 250112), width)
    wide, buckets = numbers.whole("d_ff", 1024), numbers.whole("relative_attention_num_buckets", 32)
    numbers.whole("relative_attention_max_distance", 128)
    up = "wi_0" if numbers.text("feed_forward_proj", "gated-gelu").startswith("gated") else "wi"
    for block in _blocks(numbers, "num_layers", 8, "encoder.block.", tensors):
        yield f"{block}.layer.0.SelfAttention.q.weight", (heads * head, width)
        yield f"{block}.layer.0.SelfAttention.relative_attention_bias.weight", (buckets, heads)
        yield f"{block}.layer.1.DenseReluDense.{up}.weight", (wide, width)


def _image_encoder(numbers: _Numbers, tensors: Mapping[str, Shape]) -> Expected:
    width, side, patch = (
        numbers.whole(key, default) for key, default in (("hidden_size", 768), ("image_size", 224), ("patch_size", 32))
    )
    if patch > side:
        raise numbers.part.refusal(f"image_encoder must have a patch_size from 1 to its image_size {side}, got {patch}")
    numbers.whole("num_attention_heads", 12, width)
    yield "embeddings.patch_embedding.weight", (width, numbers.whole("num_channels", 3), patch, patch)
    yield "embeddings.position_embedding.weight", ((side // patch) ** 2 + 1, width)
    if numbers.part.class_name == "CLIPVisionModelWithProjection":
        yield "visual_projection.weight", (numbers.whole("projection_dim", 512), width)
    wide = numbers.whole("intermediate_size", 3072)
    for block in _blocks(numbers, "num_hidden_layers", 12, "encoder.layers.", tensors):
        yield f"{block}.self_attn.q_proj.weight", (width, width)
        yield f"{block}.mlp.fc1.weight", (wide, width)


def _vae(numbers: _Numbers, tensors: Mapping[str, Shape]) -> Expected:
    base, latents = numbers.whole("base_dim", 96), numbers.whole("z_dim", 16)
    most = numbers.perhaps("decoder_base_dim") or base
    multiples = numbers.several("dim_mult", [1, 2, 4, 4], (1, MOST_LEVELS), MOST_MULTIPLE)
    blocks = numbers.whole("num_res_blocks", 2, MOST_BLOCKS)
    numbers.listed("temperal_downsample", len(multiples) - 1, (bool,), [False, True, True])
    numbers.listed("attn_scales", 0, ())  # no Wan has any
    for key in ("latents_mean", "latents_std"):
        numbers.listed(key, latents, (int, float))
    for key, default in (("scale_factor_spatial", 8), ("scale_factor_temporal", 4)):
        numbers.whole(key, default, MOST_SCALE)
    numbers.perhaps("patch_size", MOST_SCALE)
    numbers.flag("is_residual")
    cube = (3, 3, 3)
    yield "quant_conv.weight", (2 * latents, 2 * latents, 1, 1, 1)
    yield "post_quant_conv.weight", (latents, latents, 1, 1, 1)
    yield "encoder.conv_in.weight", (base, numbers.whole("in_channels", 3), *cube)
    yield "encoder.conv_out.weight", (2 * latents, base * multiples[-1], *cube)
    yield "decoder.conv_in.weight", (most * multiples[-1], latents, *cube)
    yield "decoder.conv_out.weight", (numbers.whole("out_channels", 3), most * multiples[0], *cube)
    levels = len(_numbered("decoder.up_blocks.", tensors))
    if levels != len(multiples):
        needed = f"dim_mult of its config.json has {len(multiples)}"
        raise numbers.part.refusal(f"vae has weights of {levels} levels, {needed}")
    for level, multiple in enumerate(reversed(multiples)):
        width = most * multiple
        for number in range(blocks + 1):
            yield f"decoder.up_blocks.{level}.resnets.{number}.conv2.weight", (width, width, *cube)


EXPECTED = {
    "transformer": _transformer,
    "transformer_2": _transformer,
    "text_encoder": _text_encoder,
    "image_encoder": _image_encoder,
    "vae": _vae,
}


def _blocks(numbers: _Numbers, key: str, default: int, prefix: str, tensors: Mapping[str, Shape]) -> Iterator[str]:
    wanted = numbers.whole(key, default, MOST_BLOCKS)
    found = _numbered(prefix, tensors)
    if found != set(map(str, range(wanted))):
        part = numbers.part
        raise part.refusal(f"{part.name} has weights of {len(found)} blocks, its config.json needs {wanted}")
    yield from (f"{prefix}{number}" for number in range(wanted))


def _numbered(prefix: str, tensors: Mapping[str, Shape]) -> set[str]:
    return {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a number"
