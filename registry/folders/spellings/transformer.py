"""Wan's original names of a transformer's modules, and diffusers'."""

import re
from collections.abc import Mapping

# Wan-Video/Wan2.1, wan/modules/model.py, and diffusers' names of the same modules
MODULES: Mapping[str, str] = {
    "self_attn": "attn1",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "cross_attn": "attn2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",
    "modulation": "scale_shift_table",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "head": "",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "patch_embedding": "patch_embedding",
}
PROJECTIONS: Mapping[str, str] = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}
TABLES: Mapping[str, str] = {  # tensors that are no module's weight or bias
    "modulation": "scale_shift_table",
    "head.modulation": "scale_shift_table",
    "img_emb.emb_pos": "condition_embedder.image_embedder.pos_embed",
}
_IN_BLOCK = re.compile(r"(blocks\.\d+\.)?(.*)", re.DOTALL)


def name(original: str) -> str:
    """Return diffusers' name of a tensor; names of diffusers stay."""
    block, inner = _split(original)
    if inner in TABLES and bool(block) == (inner == "modulation"):
        return block + TABLES[inner]
    module, dot, last = original.rpartition(".")
    return f"{module_name(module)}{dot}{last}"


def module_name(original: str) -> str:
    """Return diffusers' name of a module of Wan's repository; names of diffusers stay."""
    block, inner = _split(original)
    for known, ours in MODULES.items():
        if inner == known:
            return block + ours
        if known in ("self_attn", "cross_attn") and inner.startswith(f"{known}."):
            last = inner.removeprefix(f"{known}.")
            return f"{block}{ours}.{PROJECTIONS.get(last, last)}"
    return original


def _split(original: str) -> tuple[str, str]:
    match = _IN_BLOCK.fullmatch(original)
    assert match is not None  # it takes anything
    return match[1] or "", match[2]
