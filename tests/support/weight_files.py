"""Single weight files as people have them, written from state dicts.

Spellings take a state dict and return it by other names; quantisers return it in codes, with scales beside them;
writers make files. `tests/registry` and the tests of the backends share them. torch, safetensors and gguf are imported.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import safetensors.torch
import torch

State = Mapping[str, torch.Tensor]
Rules = tuple[tuple[str, str], ...]

# Wan-Video/Wan2.1, wan/modules/model.py
TRANSFORMER: Rules = (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.image_embedder\.norm1\.", "img_emb.proj.0."),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", "img_emb.proj.1."),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2\.", "img_emb.proj.3."),
    (r"^condition_embedder\.image_embedder\.norm2\.", "img_emb.proj.4."),
    (r"^condition_embedder\.image_embedder\.pos_embed$", "img_emb.emb_pos"),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.add_([kv])_proj\.", r".\1_img."),
    (r"\.norm_added_k\.", ".norm_k_img."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
    (r"\.norm2\.", ".norm3."),
)
# Wan-Video/Wan2.1, wan/modules/t5.py
TEXT_ENCODER: Rules = (
    (r"^shared\.", "token_embedding."),
    (r"^encoder\.final_layer_norm\.", "norm."),
    (r"^encoder\.block\.", "blocks."),
    (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".pos_embedding.embedding."),
    (r"\.layer\.0\.SelfAttention\.", ".attn."),
    (r"\.layer\.0\.layer_norm\.", ".norm1."),
    (r"\.layer\.1\.layer_norm\.", ".norm2."),
    (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn.gate.0."),
    (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn.fc1."),
    (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn.fc2."),
)
# ggml-org/llama.cpp, gguf-py/gguf/constants.py: MODEL_ARCH.T5ENCODER
LLAMA_CPP: Rules = (
    (r"^shared\.", "token_embd."),
    (r"^encoder\.final_layer_norm\.", "enc.output_norm."),
    (r"^encoder\.block\.", "enc.blk."),
    (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".attn_rel_b."),
    (r"\.layer\.0\.SelfAttention\.([qkvo])\.", r".attn_\1."),
    (r"\.layer\.0\.layer_norm\.", ".attn_norm."),
    (r"\.layer\.1\.layer_norm\.", ".ffn_norm."),
    (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn_gate."),
    (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn_up."),
    (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn_down."),
)
# Wan-Video/Wan2.1 and Wan2.2, wan/modules/vae2_1.py and vae2_2.py
RESIDUAL: Rules = (
    (r"\.norm1\.gamma$", ".residual.0.gamma"),
    (r"\.conv1\.", ".residual.2."),
    (r"\.norm2\.gamma$", ".residual.3.gamma"),
    (r"\.conv2\.", ".residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
)
VAE: Rules = (
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.gamma$", ".head.0.gamma"),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
)


# Spellings


def original_transformer(state: State, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return a transformer by Wan's original names, which ComfyUI's files and GGUF have too."""
    return {prefix + _renamed(name, TRANSFORMER): tensor for name, tensor in state.items()}


def original_text_encoder(state: State) -> dict[str, torch.Tensor]:
    """Return an umT5 by the names of Wan's repository."""
    return {_renamed(name, TEXT_ENCODER): tensor for name, tensor in untied(state).items()}


def comfy_text_encoder(state: State, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return an umT5 as ComfyUI has it: transformers' names, and the tokenizer's bytes."""
    found = {prefix + name: tensor for name, tensor in untied(state).items()}
    return found | {f"{prefix}spiece_model": torch.arange(100, dtype=torch.uint8)}


def llama_cpp_text_encoder(state: State) -> dict[str, torch.Tensor]:
    """Return an umT5 by the names that llama.cpp writes into GGUF."""
    return {_renamed(name, LLAMA_CPP): tensor for name, tensor in untied(state).items()}


def untied(state: State) -> dict[str, torch.Tensor]:
    """Return an umT5 without the second name of its embedding."""
    return {name: tensor for name, tensor in state.items() if name != "encoder.embed_tokens.weight"}


def original_vae(state: State, blocks: int, *, residual: bool, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return a VAE by Wan's original names; `blocks` and `residual` are of its configuration."""
    return {prefix + _of_vae(name, blocks, residual): tensor for name, tensor in state.items()}


def _of_vae(name: str, blocks: int, residual: bool) -> str:
    name = _renamed(name, VAE)
    if ".head." in name or re.fullmatch(r"\w+coder\.conv1\.\w+", name):
        return name
    if ".middle." in name:
        return _renamed(name, RESIDUAL)
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(.*)", name):
        side, way, level, inner = match[1], match[2], int(match[3]), match[4]
        sampler = blocks if way == "down" else blocks + 1
        inner = re.sub(r"^(down|up)samplers?(\.0)?\.", f"{sampler}.", inner).removeprefix("resnets.")
        inner = _renamed(f".{inner}", RESIDUAL)[1:]
        if residual:
            return f"{side}.{way}samples.{level}.{way}samples.{inner}"
        if way == "down":  # diffusers keeps these in one list
            return f"{side}.downsamples.{level}.{inner}"
        number, _, rest = inner.partition(".")
        return f"{side}.upsamples.{level * (blocks + 2) + int(number)}.{rest}"
    return name


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


# Codes and scales

FP8 = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


def is_matrix(name: str, tensor: torch.Tensor) -> bool:
    """Say whether a tensor is the weight of a linear layer in a block."""
    return tensor.ndim == 2 and "block" in name and name.endswith(".weight")


Chosen = Callable[[str, torch.Tensor], bool]


def plain_fp8(state: State, dtype: str = "F8_E4M3") -> dict[str, torch.Tensor]:
    """Return a state dict whose matrices are cast to fp8, without scales."""
    return {name: tensor.to(FP8[dtype]) if is_matrix(name, tensor) else tensor for name, tensor in state.items()}


def comfy_scaled_fp8(
    state: State, dtype: str = "F8_E4M3", prefix: str = "", chosen: Chosen = is_matrix
) -> dict[str, torch.Tensor]:
    """Return matrices in fp8 as ComfyUI's older files have them: `scale_weight`, and a marker."""
    found: dict[str, torch.Tensor] = {f"{prefix}scaled_fp8": torch.zeros(2, dtype=FP8[dtype])}
    for name, tensor in state.items():
        found[name] = tensor
        if chosen(name, tensor):
            scale = tensor.abs().max().float() / torch.finfo(FP8[dtype]).max
            found[name] = (tensor.float() / scale).to(FP8[dtype])
            found[name.removesuffix("weight") + "scale_weight"] = scale
            found[name.removesuffix("weight") + "scale_input"] = torch.ones(())
    return found


def comfy_quantised(state: State, kind: str = "float8_e4m3fn", chosen: Chosen = is_matrix) -> dict[str, torch.Tensor]:
    """Return matrices as ComfyUI's newer files have them: `weight_scale` and `comfy_quant`."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        found[name] = tensor
        if chosen(name, tensor):
            layer = name.removesuffix(".weight")
            found[name], found[f"{layer}.weight_scale"] = _codes(tensor, kind)
            text = json.dumps({"format": kind}).encode()
            found[f"{layer}.comfy_quant"] = torch.tensor(list(text), dtype=torch.uint8)
            if kind != "int8_tensorwise":
                found[f"{layer}.input_scale"] = torch.ones(())
    return found


def rowwise(state: State, dtype: str = "I8", chosen: Chosen = is_matrix) -> dict[str, torch.Tensor]:
    """Return matrices in codes with a scale a row, as compressed-tensors has them."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        found[name] = tensor
        if chosen(name, tensor):
            most = 127.0 if dtype == "I8" else torch.finfo(FP8[dtype]).max
            scale = tensor.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / most
            codes = tensor.float() / scale
            found[name] = codes.round().to(torch.int8) if dtype == "I8" else codes.to(FP8[dtype])
            found[f"{name}_scale"] = scale
    return found


def quantisation_metadata(state: State, kind: str = "float8_e4m3fn") -> dict[str, str]:
    """Return the metadata by which ComfyUI names a file's quantised layers."""
    layers = {name.removesuffix(".weight_scale"): {"format": kind} for name in state if name.endswith(".weight_scale")}
    return {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


def _codes(tensor: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    if kind == "int8_tensorwise":
        scale = tensor.float().abs().max() / 127
        return (tensor.float() / scale).round().to(torch.int8), scale
    dtype = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}[kind]
    scale = tensor.float().abs().max() / torch.finfo(dtype).max
    return (tensor.float() / scale).to(dtype), scale


# Files


def write_safetensors(path: Path, state: State, metadata: Mapping[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path, metadata)
    return path


def write_gguf(
    path: Path,
    state: State,
    arch: str | None = "wan",
    kind: str = "Q8_0",
    chosen: Chosen | None = None,
    tokens: int = 0,
) -> Path:
    """Write a GGUF file whose matrices are in `kind`; others are F32.

    The K-quants, which `gguf` cannot write, hold random blocks of finite numbers. `tokens` adds a vocabulary.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, arch or "none")
    if arch is None:
        del writer.kv_data[0]["general.architecture"]
    if tokens:
        writer.add_token_list([f"token {number}" for number in range(tokens)])
        writer.add_token_scores([0.0] * tokens)
    code = gguf.GGMLQuantizationType[kind]
    numbers, _ = gguf.GGML_QUANT_SIZES[code]
    for name, tensor in state.items():
        values = tensor.detach().float().numpy()
        fits = (chosen or _any_matrix)(name, tensor) and values.shape[-1] % numbers == 0
        if fits:
            writer.add_tensor(name, _blocks(values, code), raw_dtype=code)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _any_matrix(_: str, tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2


def _blocks(values: np.ndarray, code: gguf.GGMLQuantizationType) -> np.ndarray:
    try:
        return gguf.quants.quantize(values, code)
    except NotImplementedError:
        return random_blocks(values.shape, code)


def random_blocks(shape: tuple[int, ...], code: gguf.GGMLQuantizationType, seed: int = 0) -> np.ndarray:
    """Return the bytes of random blocks whose half-precision scales are finite and small."""
    numbers, size = gguf.GGML_QUANT_SIZES[code]
    dice = np.random.default_rng(seed)
    blocks = dice.integers(0, 256, (*shape[:-1], shape[-1] // numbers, size), dtype=np.uint8)
    places = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (size - 2,)}[code.name]
    for place in places:
        half = dice.uniform(1e-3, 1e-2, blocks.shape[:-1]).astype(np.float16)
        blocks[..., place : place + 2] = half[..., None].view(np.uint8)
    return blocks.reshape(*shape[:-1], -1)
