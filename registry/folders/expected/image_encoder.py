"""The tensors of transformers' CLIPVisionModel, without the prefix of some versions."""

from collections.abc import Iterator

from registry.folders.expected.numbers import MOST_BLOCKS, Numbers, Shape, layer

BLOCKS = "encoder.layers."
PREFIX = "vision_model."


def count(numbers: Numbers) -> int:
    return numbers.whole("num_hidden_layers", 12, MOST_BLOCKS)


def tensors(numbers: Numbers) -> Iterator[tuple[str, Shape]]:
    width, side, patch = (
        numbers.whole(key, default) for key, default in (("hidden_size", 768), ("image_size", 224), ("patch_size", 32))
    )
    if patch > side:
        raise numbers.refusal(f"image_encoder must have a patch_size from 1 to its image_size {side}, got {patch}")
    numbers.whole("num_attention_heads", 12, width)
    channels, wide, many = numbers.whole("num_channels", 3), numbers.whole("intermediate_size", 3072), count(numbers)
    yield "embeddings.patch_embedding.weight", (width, channels, patch, patch)
    yield "embeddings.position_embedding.weight", ((side // patch) ** 2 + 1, width)
    yield "embeddings.class_embedding", (width,)
    yield from layer("pre_layrnorm", (width,))
    if numbers.class_name == "CLIPVisionModelWithProjection":
        yield "visual_projection.weight", (numbers.whole("projection_dim", 512), width)
    for number in range(many):
        name = f"{BLOCKS}{number}"
        for each in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from layer(f"{name}.self_attn.{each}", (width, width))
        yield from layer(f"{name}.mlp.fc1", (wide, width))
        yield from layer(f"{name}.mlp.fc2", (width, wide))
        yield from layer(f"{name}.layer_norm1", (width,))
        yield from layer(f"{name}.layer_norm2", (width,))
    yield from layer("post_layernorm", (width,))
