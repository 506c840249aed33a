"""The tensors of diffusers' WanTransformer3DModel."""

from collections.abc import Iterator
from math import prod

from registry.folders.expected.numbers import MOST_BLOCKS, Numbers, Shape, layer

BLOCKS = "blocks."
MOST_HEAD = 1024  # numbers; the tables of rotations have a column for each
MOST_ROPE = 8192  # positions, each a row of these tables, which are in no file
MOST_PATCH = 64  # latents
EMBEDDER = "condition_embedder"


def count(numbers: Numbers) -> int:
    return numbers.whole("num_layers", 40, MOST_BLOCKS)


def tensors(numbers: Numbers) -> Iterator[tuple[str, Shape]]:
    heads, head = numbers.whole("num_attention_heads", 40), numbers.whole("attention_head_dim", 128, MOST_HEAD)
    patch = numbers.several("patch_size", [1, 2, 2], (3, 3), MOST_PATCH)
    takes = numbers.whole("in_channels", 16)
    makes = numbers.perhaps("out_channels", zero=True) if "out_channels" in numbers else 16
    numbers.whole("rope_max_seq_len", 1024, MOST_ROPE)
    frequencies, text = numbers.whole("freq_dim", 256), numbers.whole("text_dim", 4096)
    image, tokens = numbers.perhaps("image_dim"), numbers.perhaps("pos_embed_seq_len")
    wide, added = numbers.whole("ffn_dim", 13824), numbers.perhaps("added_kv_proj_dim")
    normed, many = numbers.flag("cross_attn_norm", default=True), count(numbers)
    width = heads * head
    yield from layer("patch_embedding", (width, takes, *patch))
    yield from layer("proj_out", ((makes or takes) * prod(patch), width))
    yield "scale_shift_table", (1, 2, width)
    yield from layer(f"{EMBEDDER}.time_embedder.linear_1", (width, frequencies))
    yield from layer(f"{EMBEDDER}.time_embedder.linear_2", (width, width))
    yield from layer(f"{EMBEDDER}.time_proj", (6 * width, width))
    yield from layer(f"{EMBEDDER}.text_embedder.linear_1", (width, text))
    yield from layer(f"{EMBEDDER}.text_embedder.linear_2", (width, width))
    if image is not None:
        yield from _image_embedder(width, image, tokens)
    for number in range(many):
        yield from _block(f"{BLOCKS}{number}", width, wide, added, normed)


def _image_embedder(width: int, image: int, tokens: int | None) -> Iterator[tuple[str, Shape]]:
    name = f"{EMBEDDER}.image_embedder"
    yield from layer(f"{name}.norm1", (image,))
    if tokens is not None:
        yield f"{name}.pos_embed", (1, tokens, image)
    yield from layer(f"{name}.ff.net.0.proj", (image, image))
    yield from layer(f"{name}.ff.net.2", (width, image))
    yield from layer(f"{name}.norm2", (width,))


def _block(name: str, width: int, wide: int, added: int | None, normed: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.scale_shift_table", (1, 6, width)
    for attention in ("attn1", "attn2"):
        for each in ("to_q", "to_k", "to_v", "to_out.0"):
            yield from layer(f"{name}.{attention}.{each}", (width, width))
        yield f"{name}.{attention}.norm_q.weight", (width,)
        yield f"{name}.{attention}.norm_k.weight", (width,)
    yield from layer(f"{name}.ffn.net.0.proj", (wide, width))
    yield from layer(f"{name}.ffn.net.2", (width, wide))
    if added is not None:
        yield from layer(f"{name}.attn2.add_k_proj", (width, added))
        yield from layer(f"{name}.attn2.add_v_proj", (width, added))
        yield f"{name}.attn2.norm_added_k.weight", (width,)
    if normed:
        yield from layer(f"{name}.norm2", (width,))
