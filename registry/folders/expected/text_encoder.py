"""The tensors of transformers' UMT5EncoderModel."""

from collections.abc import Iterator

from registry.folders.expected.numbers import MOST_BLOCKS, Numbers, Shape

BLOCKS = "encoder.block."
SHARED, TIED = "shared.weight", "encoder.embed_tokens.weight"  # two names of the embedding: files have either, or both


def count(numbers: Numbers) -> int:
    return numbers.whole("num_layers", 8, MOST_BLOCKS)


def tensors(numbers: Numbers) -> Iterator[tuple[str, Shape]]:
    width, heads, head = numbers.whole("d_model", 512), numbers.whole("num_heads", 6), numbers.whole("d_kv", 64)
    words, wide = numbers.whole("vocab_size", 250112), numbers.whole("d_ff", 1024)
    buckets = numbers.whole("relative_attention_num_buckets", 32)
    numbers.whole("relative_attention_max_distance", 128)
    gated = numbers.text("feed_forward_proj", "gated-gelu").startswith("gated")
    many, inner = count(numbers), heads * head
    yield SHARED, (words, width)
    for number in range(many):
        attention, forward = (f"{BLOCKS}{number}.layer.{each}" for each in (0, 1))
        yield f"{attention}.SelfAttention.q.weight", (inner, width)
        yield f"{attention}.SelfAttention.relative_attention_bias.weight", (buckets, heads)
        for each in ("wi_0", "wi_1") if gated else ("wi",):
            yield f"{forward}.DenseReluDense.{each}.weight", (wide, width)
        yield f"{attention}.SelfAttention.k.weight", (inner, width)
        yield f"{attention}.SelfAttention.v.weight", (inner, width)
        yield f"{attention}.SelfAttention.o.weight", (width, inner)
        yield f"{attention}.layer_norm.weight", (width,)
        yield f"{forward}.DenseReluDense.wo.weight", (width, wide)
        yield f"{forward}.layer_norm.weight", (width,)
    yield "encoder.final_layer_norm.weight", (width,)
