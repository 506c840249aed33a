"""Names of umT5's tensors in Wan's repository and in llama.cpp's GGUF, and transformers'."""

import re

# Wan-Video/Wan2.1, wan/modules/t5.py; ggml-org/llama.cpp, gguf-py/gguf/constants.py: MODEL_ARCH.T5ENCODER
WHOLE = {
    "token_embedding.weight": "shared.weight",
    "norm.weight": "encoder.final_layer_norm.weight",
    "token_embd.weight": "shared.weight",
    "enc.output_norm.weight": "encoder.final_layer_norm.weight",
}
ATTENTION, FORWARD = "layer.0.SelfAttention", "layer.1.DenseReluDense"
ORIGINAL = {
    **{f"attn.{each}": f"{ATTENTION}.{each}" for each in "qkvo"},
    "pos_embedding.embedding": f"{ATTENTION}.relative_attention_bias",
    "norm1": "layer.0.layer_norm",
    "ffn.gate.0": f"{FORWARD}.wi_0",
    "ffn.fc1": f"{FORWARD}.wi_1",
    "ffn.fc2": f"{FORWARD}.wo",
    "norm2": "layer.1.layer_norm",
}
LLAMA_CPP = {
    **{f"attn_{each}": f"{ATTENTION}.{each}" for each in "qkvo"},
    "attn_rel_b": f"{ATTENTION}.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_gate": f"{FORWARD}.wi_0",
    "ffn_up": f"{FORWARD}.wi_1",
    "ffn_down": f"{FORWARD}.wo",
    "ffn_norm": "layer.1.layer_norm",
}
_BLOCKS = {"blocks": ORIGINAL, "enc.blk": LLAMA_CPP}
_IN_BLOCK = re.compile(r"(blocks|enc\.blk)\.(\d+)\.(.*)\.weight", re.DOTALL)


def name(original: str) -> str:
    """Return transformers' name of a tensor; other names stay."""
    if original in WHOLE:
        return WHOLE[original]
    if match := _IN_BLOCK.fullmatch(original):
        inner = _BLOCKS[match[1]].get(match[3])
        return original if inner is None else f"encoder.block.{match[2]}.{inner}.weight"
    return original
