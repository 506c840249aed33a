"""Model folders: relevant files, contents, and reasons for refusal."""

import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.tools.layout import (
    A14B,
    CLIP_I2V,
    FLF2V,
    I2V,
    T2V,
    TI2V,
    TRUE_SIZE,
    Kind,
    write_model,
    write_safetensors,
    write_weights,
)
from registry import Modality, folders
from registry.folders import FolderError
from registry.folders.family import alike

CLIP = "condition_embedder.image_embedder.norm1.weight"
FIRST_AND_LAST = "condition_embedder.image_embedder.pos_embed"
STEM = "diffusion_pytorch_model"
WHOLE = f"{STEM}.safetensors"
INDEX = f"{WHOLE}.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def why(folder: Path) -> str:
    """Why a folder cannot be served; no path is in it."""
    with pytest.raises(FolderError) as refused:
        folders.read(folder)
    assert str(folder) not in refused.value.reason
    assert str(folder.parent) in str(refused.value)
    return refused.value.reason


def files_of(folder: Path, part: str) -> list[str]:
    weights = folders.read(folder).parts[part].weights
    assert weights is not None
    return [path.name for path in weights.files]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("kind", "modalities", "family", "experts", "multiple"),
    [
        (T2V, "t2v", "wan-nano-t2v", 1, 16),
        (A14B, "t2v", "wan-nano-t2v", 2, 16),
        (I2V, "i2v flf2v", "wan-nano-i2v", 2, 16),
        (CLIP_I2V, "i2v", "wan-nano-i2v", 1, 16),
        (FLF2V, "flf2v", "wan2.1-flf2v-14b-720p", 1, 16),
        (TI2V, "ti2v t2v i2v", "wan-nano-ti2v", 1, 32),
        (replace(A14B, heads=40, head_dim=128, layers=1), "t2v", "wan2.2-t2v-a14b", 2, 16),
        (replace(T2V, heads=12, head_dim=128, layers=1), "t2v", "wan2.1-t2v-1.3b", 1, 16),
    ],
)
def test_a_folder_is_read_for_what_it_is(
    tmp_path: Path, kind: Kind, modalities: str, family: str, experts: int, multiple: int
) -> None:
    found = folders.read(write_model(tmp_path / "m", kind))

    assert [each.word for each in found.modalities] == modalities.split()
    assert (found.experts, found.family.name, found.family.size_multiple) == (experts, family, multiple)
    assert found.family.experts == experts
    assert found.family.modality is found.modalities[0]


# Which files are the weights


def test_an_index_counts_and_an_older_whole_file_beside_it_does_not(folder: Path) -> None:
    shapes = {name: tensor.shape for name, tensor in tensors(folder, "transformer").items()}
    write_weights(folder / "transformer", shapes, shards=2)

    assert files_of(folder, "transformer") == [f"{STEM}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert {t.file.name for t in tensors(folder, "transformer").values()} == set(files_of(folder, "transformer"))


def test_shards_of_another_count_are_not_read(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", replace(T2V, shards=2))
    for n in (1, 2, 3):
        write_safetensors(folder / "transformer" / f"{STEM}-0000{n}-of-00003.safetensors", {f"blocks.{n}.x": (4,)})

    assert files_of(folder, "transformer") == [f"{STEM}-0000{n}-of-00002.safetensors" for n in (1, 2)]


@pytest.mark.parametrize("stray", ["ema_model.safetensors", "a.safetensors", f"{STEM}.fp16.safetensors", "zz.bin"])
def test_a_file_of_another_name_is_not_read(folder: Path, stray: str) -> None:
    (folder / "transformer" / stray).write_bytes(b"whatever")

    assert files_of(folder, "transformer") == [WHOLE]


def test_an_index_decides_from_which_shard_a_tensor_comes(folder: Path) -> None:
    part = folder / "vae"
    (part / WHOLE).unlink()
    write_safetensors(part / "a.safetensors", {"x": (4,), "y": (2,)})
    write_safetensors(part / "b.safetensors", {"x": (4,), "z": (3,)})
    (part / INDEX).write_text(json.dumps({"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}}))

    assert {name: t.file.name for name, t in tensors(folder, "vae").items()} == {
        "x": "b.safetensors",
        "y": "a.safetensors",
    }


@pytest.mark.parametrize("part", ["transformer", "text_encoder"])
def test_the_only_variant_is_read(folder: Path, part: str) -> None:
    stem = "model" if part == "text_encoder" else STEM
    (folder / part / f"{stem}.safetensors").rename(folder / part / f"{stem}.fp16.safetensors")

    assert files_of(folder, part) == [f"{stem}.fp16.safetensors"]


def test_the_only_variant_may_have_shards(folder: Path) -> None:
    part = folder / "transformer"
    shapes = {name: tensor.shape for name, tensor in tensors(folder, "transformer").items()}
    write_weights(part, shapes, shards=2)
    (part / INDEX).rename(part / f"{WHOLE}.index.bf16.json")
    (part / WHOLE).unlink()

    assert files_of(folder, "transformer") == [f"{STEM}-0000{n}-of-00002.safetensors" for n in (1, 2)]


def test_two_variants_of_which_none_is_meant_are_named(folder: Path) -> None:
    part = folder / "transformer"
    (part / WHOLE).rename(part / f"{STEM}.fp16.safetensors")
    shutil.copy(part / f"{STEM}.fp16.safetensors", part / f"{STEM}.ema.safetensors")

    assert why(folder) == (
        f"transformer has no {WHOLE}, and {STEM}.ema.safetensors and {STEM}.fp16.safetensors could each be meant: "
        "keep one"
    )


def test_two_names_of_one_file_are_one_variant(folder: Path) -> None:
    part = folder / "transformer"
    (part / WHOLE).rename(part / f"{STEM}.fp16.safetensors")
    (part / f"{STEM}.bf16.safetensors").symlink_to(f"{STEM}.fp16.safetensors")

    assert len(files_of(folder, "transformer")) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "got model.safetensors, a name that is not read"),
        (f"{STEM}-00001-of-00001.safetensors", "without the index"),
        ("wan.gguf", "got wan.gguf: GGUF is not read here, name it under `parts`"),
        (f"{STEM}.bin", "pickles can run code and are not read"),
    ],
)
def test_without_weights_it_says_what_is_there_instead(folder: Path, name: str, said: str) -> None:
    (folder / "transformer" / WHOLE).rename(folder / "transformer" / name)

    assert why(folder).startswith(f"transformer needs {WHOLE}, or shards and their index, ")
    assert said in why(folder)


# What a file holds


def tensors(folder: Path, part: str) -> dict[str, folders.Tensor]:
    library = "transformers" if part in ("text_encoder", "image_encoder") else "diffusers"
    return folders.weights_in(folder / part, part, library).read()


def test_each_tensor_says_where_it_lies(folder: Path) -> None:
    path = folder / "vae" / WHOLE
    data = os.urandom(8)
    header = {"a": {"dtype": "F16", "shape": [1], "data_offsets": [4, 6]}}
    header |= {"b": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}
    header |= {"c": {"dtype": "BF16", "shape": [1, 1], "data_offsets": [6, 8]}}
    text = json.dumps(header).encode() + b"   "
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)

    found = tensors(folder, "vae")
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        "a": ("F16", (1,)),
        "b": ("F32", ()),
        "c": ("BF16", (1, 1)),
    }
    assert path.read_bytes()[found["a"].offset :][: found["a"].length] == data[4:6]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (LFS, "is a Git LFS pointer, not the file itself: 'git lfs pull'"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\n\n <HTML>", "is a web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "is a web page"),
        (b"GGUF\3\0\0\0" + bytes(99), "is a GGUF file"),
        (b"PK\3\4" + bytes(99), "is an archive (ZIP), as torch.save makes it"),
        (b"\x80\x02}q\x00.", "is a pickle"),
        (b"\x1f\x8b\x08" + bytes(99), "is a gzip archive"),
        (bytes(1000), "is nothing but zeros"),
        (b'{"error": "not found"}', "must be a safetensors file, it is none"),
        (b"\x05", "must be a safetensors file, it is none"),
        (struct.pack("<Q", 2) + b"{}x", "is longer than its header says"),
        (struct.pack("<Q", 50) + b"{}", "is cut short"),
        (struct.pack("<Q", 2**60) + b"{}", "must be a safetensors file, it is none"),
        (struct.pack("<Q", 2) + b"{]", "has a broken header"),
        (struct.pack("<Q", 100_001) + b"{" + b"[" * 100_000, "has a broken header"),
    ],
)
@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_what_is_no_weights_is_told_apart(folder: Path, part: str, content: bytes, said: str) -> None:
    name = "model.safetensors" if part == "text_encoder" else WHOLE
    (folder / part / name).write_bytes(content)

    assert why(folder).startswith(f"{name} of {part} ")
    assert said in why(folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        {"shape": [1], "data_offsets": [0, 4]},
        [1, 2],
        None,
        7,
    ],
)
def test_a_header_that_contradicts_itself_is_broken(folder: Path, entry: object) -> None:
    text = json.dumps({"x": entry}).encode()
    (folder / "vae" / WHOLE).write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))

    assert why(folder) == f"{WHOLE} of vae must be a safetensors file, it has a broken header"


@pytest.mark.parametrize(("begin", "said"), [(0, "its tensors overlap"), (8, "its tensors leave gaps")])
def test_tensors_lie_one_after_the_other(folder: Path, begin: int, said: str) -> None:
    header = {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header |= {"y": {"dtype": "F32", "shape": [1], "data_offsets": [begin, begin + 4]}}
    text = json.dumps(header).encode()
    (folder / "vae" / WHOLE).write_bytes(struct.pack("<Q", len(text)) + text + bytes(begin + 4))

    assert said in why(folder)


def test_a_file_that_is_cut_says_how_much_is_there(folder: Path) -> None:
    path = folder / "transformer" / WHOLE
    size = path.stat().st_size
    os.truncate(path, size - 1)

    assert why(folder) == (
        f"{WHOLE} of transformer is cut short: it has {size - 1:,} of {size:,} bytes; fetch it again"
    )
    assert folders.missing(folder) == why(folder)


@pytest.mark.parametrize(("dtype", "said"), [("I8", "int8 without a scale"), ("U8", "uint8 (8 or 4 bits)")])
def test_codes_without_their_scales_are_named(folder: Path, dtype: str, said: str) -> None:
    write_safetensors(folder / "transformer" / WHOLE, {"blocks.0.attn1.to_q.weight": (4, 4)}, dtype)

    assert why(folder) == (
        f"{WHOLE} of transformer holds 'blocks.0.attn1.to_q.weight' in {said}; "
        "fp8 and int8 with one scale, or one for each row, are read"
    )


def test_a_configuration_that_quantises_is_named_by_its_method(folder: Path) -> None:
    edit(folder / "transformer" / "config.json", quantization_config={"quant_method": "bitsandbytes"})

    assert why(folder).startswith("transformer holds quantised weights, by bitsandbytes;")
    edit(folder / "transformer" / "config.json", quantization_config={"quant_method": "framegate"})
    assert folders.read(folder)


def test_a_pipe_in_place_of_weights_is_refused_at_once(folder: Path) -> None:
    (folder / "vae" / WHOLE).unlink()
    os.mkfifo(folder / "vae" / WHOLE)

    assert why(folder) == f"{WHOLE} of vae is no regular file"


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
@pytest.mark.parametrize(("content", "said"), [(LFS, "a Git LFS pointer"), (b"<html>", "a web page"), (b"", "empty")])
def test_a_vocabulary_that_is_none_is_found(folder: Path, name: str, content: bytes, said: str) -> None:
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / name)
    (folder / "tokenizer" / name).write_bytes(content)

    assert why(folder).startswith(f"{name} of tokenizer is {said}")


# Its configuration


@pytest.mark.parametrize("path", ["model_index.json", "transformer/config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"7", b"\xff", b"[" * 100_000, LFS, b"<html>"])
def test_a_broken_configuration_says_which(folder: Path, path: str, content: bytes) -> None:
    (folder / path).write_bytes(content)

    part, _, name = path.rpartition("/")
    assert why(folder).startswith(f"{name} of {part} " if part else f"{name} ")


SHARD = f"{STEM}-00001-of-00001.safetensors"


@pytest.mark.parametrize(
    "listed",
    [
        {"x": 7},
        {"x": ["a.safetensors"]},
        {"x": None},
        {"x": "../../text_encoder/model.safetensors"},
        {"x": "/etc/passwd"},
        {"x": "x" * 5000 + ".safetensors"},
        {"x": "a\0.safetensors"},
        {"x": "model.bin"},
        {},
        [],
        "text",
        None,
    ],
)
def test_an_index_may_name_files_beside_it_only(folder: Path, listed: object) -> None:
    (folder / "transformer" / INDEX).write_text(json.dumps({"weight_map": listed}))

    assert why(folder).startswith(f"{INDEX} of transformer must ")


def test_an_index_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", replace(T2V, shards=2))
    index = json.loads((folder / "transformer" / INDEX).read_text())
    index["weight_map"]["blocks.9.x"] = f"{STEM}-00001-of-00002.safetensors"
    (folder / "transformer" / INDEX).write_text(json.dumps(index))

    assert why(folder) == (
        f"{STEM}-00001-of-00002.safetensors of transformer lacks the tensor 'blocks.9.x', for which {INDEX} names it"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "WanVACEPipeline"}, "must be of a WanPipeline or a WanImageToVideoPipeline, got WanVACEPipel"),
        ({"_class_name": None}, "must be of a WanPipeline or a WanImageToVideoPipeline, got None"),
        ({"vae": None}, "must list a vae, it does not"),
        ({"vae": ["evil", "Class"]}, "vae of model_index.json must be AutoencoderKLWan of diffusers, got ['evil', "),
        ({"vae": 7}, "vae of model_index.json must be AutoencoderKLWan of diffusers, got 7"),
        ({"boundary_ratio": 0.9}, "has boundary_ratio 0.9, so it needs a transformer_2; none is listed"),
        ({"transformer_2": ["diffusers", "WanTransformer3DModel"]}, "lists a transformer_2 and no boundary_ratio"),
    ],
)
def test_an_index_that_is_no_wan_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    edit(folder / "model_index.json", **changes)

    assert said in why(folder)


@pytest.mark.parametrize("ratio", [True, "0.9", 1.5, -1, [0.9]])
def test_a_boundary_is_a_share_of_the_steps(tmp_path: Path, ratio: object) -> None:
    folder = write_model(tmp_path / "m", A14B)
    edit(folder / "model_index.json", boundary_ratio=ratio)

    assert why(folder).startswith("boundary_ratio of model_index.json must be from 0 to 1, got ")


@pytest.mark.parametrize(
    ("kind", "path", "changes", "said"),
    [
        (T2V, "transformer", {"num_layers": 3}, "transformer has weights of 2 blocks, its config.json needs 3"),
        (
            T2V,
            "transformer",
            {"num_layers": 10**7},
            "num_layers of transformer must be a number up to 1,048,576, got 10",
        ),
        (T2V, "transformer", {"num_layers": 1001}, "num_layers of transformer must be from 1 to 1000, got 1001"),
        (T2V, "transformer", {"num_layers": "2"}, "num_layers of transformer must be from 1 to 1000, got 2"),
        (T2V, "transformer", {"num_layers": True}, "num_layers of transformer must be from 1 to 1000, got True"),
        (T2V, "transformer", {"num_layers": 9, "vision_config": {}}, "transformer has weights of 2 blocks, its config"),
        (
            T2V,
            "transformer",
            {"ffn_dim": 33},
            "blocks.0.ffn.net.0.proj.weight of transformer is 32x16, its config.json",
        ),
        (T2V, "transformer", {"num_attention_heads": 1}, "patch_embedding.weight of transformer is 16x16x1x2x2, its"),
        (T2V, "transformer", {"attention_head_dim": 2000}, "attention_head_dim of transformer must be from 1 to 1024"),
        (
            T2V,
            "transformer",
            {"rope_max_seq_len": 10**6},
            "rope_max_seq_len of transformer must be from 1 to 8192, got",
        ),
        (T2V, "transformer", {"added_kv_proj_dim": 4}, "lacks the tensor blocks.0.attn2.add_k_proj.weight, which its"),
        (
            T2V,
            "transformer",
            {"patch_size": [1, 2]},
            "patch_size of transformer must be a list of 3 numbers, got [1, 2]",
        ),
        (
            T2V,
            "text_encoder",
            {"vocab_size": 65},
            "shared.weight of text_encoder is 64x16, its config.json needs 65x16",
        ),
        (T2V, "text_encoder", {"d_ff": 10**6}, "layer.1.DenseReluDense.wi_0.weight of text_encoder is 32x16, its con"),
        (T2V, "text_encoder", {"num_labels": 10**6}, "num_labels of text_encoder must be from 0 to 1000, got 1000000"),
        (
            CLIP_I2V,
            "image_encoder",
            {"intermediate_size": 9},
            "encoder.layers.0.mlp.fc1.weight of image_encoder is 24x",
        ),
        (T2V, "vae", {"base_dim": 5}, "encoder.conv_in.weight of vae is 4x3x3x3x3, its config.json needs 5x3x3x3x3"),
        (
            T2V,
            "vae",
            {"dim_mult": [1, 2, 2], "temperal_downsample": [True] * 2},
            "vae has weights of 2 levels, its config.json needs 3",
        ),
        (T2V, "vae", {"dim_mult": [1] * 10**4}, "dim_mult of vae must be a list of 1 to 16 numbers, got [1, 1, 1"),
        (T2V, "vae", {"num_res_blocks": 2}, "vae lacks the tensor decoder.up_blocks.0.resnets.2.conv2.weight, which"),
        (T2V, "vae", {"temperal_downsample": [1]}, "temperal_downsample of vae must be a list of 1, got [1]"),
        (T2V, "vae", {"latents_mean": [0.0] * 9}, "latents_mean of vae must be a list of 16, got [0.0, 0.0"),
        (T2V, "vae", {"latents_std": [float("nan")] * 16}, "latents_std of vae must be a number up to 1e+09, got nan"),
        (T2V, "vae", {"attn_scales": [1.0]}, "attn_scales of vae must be a list of 0, got [1.0]"),
        (CLIP_I2V, "image_processor", {"size": 10**5}, "size of image_processor must be from 1 to 4096, got 100000"),
        (T2V, "scheduler", {"num_train_timesteps": 10**9}, "num_train_timesteps of scheduler must be from 1 to 100000"),
        (T2V, "scheduler", {"beta_end": 1e308}, "beta_end of scheduler must be a number up to 1e+09, got 1e+308"),
        (T2V, "scheduler", {"trained_betas": [0] * 10**6}, "scheduler_config.json of scheduler has more than 100,000"),
        (T2V, "scheduler", {"x": 10**4000}, "x of scheduler must be a number up to 1,048,576, got 1000000"),
        (T2V, "tokenizer", {"extra_ids": 10**9}, "extra_ids of tokenizer must be from 0 to 1000, got 1000000000"),
        (T2V, "text_encoder", {"num_layers": 2}, "text_encoder has weights of 1 blocks, its config.json needs 2"),
        (
            T2V,
            "text_encoder",
            {"num_layers": 10**7},
            "num_layers of text_encoder must be a number up to 1,048,576, got 10",
        ),
        (CLIP_I2V, "image_encoder", {"num_hidden_layers": 9}, "image_encoder has weights of 1 blocks, its config.json"),
        (T2V, "vae", {"scale_factor_spatial": 10**6}, "scale_factor_spatial of vae must be from 1 to 64, got 1000000"),
        (T2V, "vae", {"num_res_blocks": 10**6}, "num_res_blocks of vae must be from 1 to 1000, got 1000000"),
        (A14B, "transformer_2", {"num_layers": 1}, "transformer_2 has weights of 2 blocks, its config.json needs 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, kind: Kind, path: str, changes: dict[str, Any], said: str
) -> None:
    folder = write_model(tmp_path / "m", kind)
    file = folder / path / CONFIGS.get(path, "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text() if file.exists() else "{}"), **changes}))

    assert said in why(folder)


CONFIGS = {
    "scheduler": "scheduler_config.json",
    "image_processor": "preprocessor_config.json",
    "tokenizer": "tokenizer_config.json",
}


@pytest.mark.parametrize(
    ("kind", "part", "other", "said"),
    [
        (T2V, "transformer", I2V, "transformer takes 36 channels, a WanPipeline with this vae gives it 16"),
        (I2V, "transformer", T2V, "takes 16 channels, a WanImageToVideoPipeline with this vae gives it 36"),
        (T2V, "vae", TI2V, "transformer takes 16 channels, a WanPipeline with this vae gives it 48"),
        (T2V, "text_encoder", replace(T2V, text=9), "transformer reads text_dim 16, text_encoder gives d_model 9"),
        (FLF2V, "image_encoder", replace(FLF2V, image_dim=9), "reads image_dim 12, image_encoder gives hidden_size 9"),
        (FLF2V, "image_encoder", replace(FLF2V, clip_patch=16), "514, image_encoder makes 394 tokens of two images"),
    ],
)
def test_parts_of_different_models_are_refused(tmp_path: Path, kind: Kind, part: str, other: Kind, said: str) -> None:
    folder = write_model(tmp_path / "m", kind)
    shutil.rmtree(folder / part)
    shutil.copytree(write_model(tmp_path / "other", other) / part, folder / part)

    assert said in why(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch_size": 0}, "patch_size of image_encoder must be from 1 to 1048576, got 0"),
        ({"image_size": 7}, "image_encoder must have a patch_size from 1 to its image_size 7, got 14"),
        ({"image_size": "large"}, "image_size of image_encoder must be from 1 to 1048576, got large"),
    ],
)
def test_clip_must_see_what_the_transformer_reads(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    folder = write_model(tmp_path / "m", FLF2V)
    assert folders.read(folder).image_tokens == 257
    edit(folder / "image_encoder" / "config.json", **changes)

    assert why(folder) == said


@pytest.mark.parametrize("inner", [7, "text", [1], None])
def test_a_clip_with_nonsense_inside_is_a_broken_folder(tmp_path: Path, inner: object) -> None:
    folder = write_model(tmp_path / "m", CLIP_I2V)
    edit(folder / "image_encoder" / "config.json", vision_config=inner)

    assert why(folder) == f"vision_config of image_encoder must be a JSON object, got {inner}"


def test_clip_must_be_there_for_who_reads_it(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", CLIP_I2V)
    edit(folder / "model_index.json", image_encoder=[None, None])

    assert why(folder) == "transformer has image_dim, so image_encoder must be listed; it is not"


# What is no folder of diffusers weights


def original(folder: Path) -> None:
    config = {"_class_name": "WanModel", "model_type": "t2v", "dim": 5120}
    for expert in ("high_noise_model", "low_noise_model"):
        (folder / expert).mkdir(parents=True)
        (folder / expert / "config.json").write_text(json.dumps(config))


def file(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / name).write_bytes(content)

    return make


def single_file(folder: Path) -> None:
    folder.mkdir()
    write_safetensors(folder / "x.safetensors", {"model.diffusion_model.patch_embedding.weight": (3072, 48, 1, 2, 2)})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "there is no such folder"),
        (lambda folder: folder.mkdir(), "the folder is empty"),
        (lambda folder: folder.write_bytes(b"x"), "this is a file"),
        (
            original,
            "this is Wan's original layout, which is not read as a whole: take Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        ),
        (
            file("config.json", b'{"_class_name": "WanModel", "model_type": "ti2v", "dim": 3072}'),
            "take Wan-AI/Wan2.2-TI2V-5B-Diffusers ('framegate pull Wan-AI/Wan2.2-TI2V-5B-Diffusers')",
        ),
        (file("Wan2.1_VAE.pth"), "not read as a whole: take the repository whose name ends in -Diff"),
        (file("wan-Q4_K.gguf"), "but GGUF (wan-Q4_K.gguf): name it under `parts`"),
        (file("wan2.2.safetensors"), "but a single file (wan2.2.safetensors): name it under `parts`"),
        (lambda folder: write_model(folder / "inner") and None, "its folder inner has: name that one"),
        (
            single_file,
            "single file (x.safetensors): name it under `parts` of an entry whose source is Wan-AI/Wan2.2-TI2V-5B-Diff",
        ),
        (file("notes.txt"), "it has none"),
    ],
)
def test_another_layout_is_told_with_what_to_take(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / "m")

    assert why(tmp_path / "m").startswith("a folder of diffusers weights has a model_index.json: ")
    assert said in why(tmp_path / "m")


# How fast, and for how long


def test_a_folder_is_read_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folders.read(folder)
    assert folders.read(folder) is first

    write_safetensors(folder / "vae" / WHOLE, {"other": (2,)})
    assert set(tensors(folder, "vae")) == {"other"}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder / "transformer" / "config.json", num_layers=9),
        lambda folder: os.truncate(folder / "vae" / WHOLE, 3),
        lambda folder: (folder / "text_encoder" / "model.safetensors").unlink(),
        lambda folder: (folder / "tokenizer" / "tokenizer.json").write_bytes(LFS),
        lambda folder: shutil.rmtree(folder / "scheduler"),
        lambda folder: shutil.rmtree(folder),
    ],
)
def test_what_changes_is_noticed_and_what_is_mended_too(folder: Path, change: Callable[[Path], None]) -> None:
    whole = shutil.copytree(folder, folder.with_name("copy"))
    folders.read(folder)
    change(folder)
    assert why(folder)

    shutil.rmtree(folder, ignore_errors=True)
    whole.rename(folder)
    assert folders.read(folder).pipeline == "WanPipeline"


def test_a_folder_of_the_largest_model_is_read_in_no_time(tmp_path: Path) -> None:
    """112 GB in 24 shards take 20 ms; the bound is five times that."""
    folder = write_model(tmp_path / "m", TRUE_SIZE)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > 100e9
    anew, known = [], []
    for _ in range(5):
        os.utime(folder / "model_index.json")  # so that it is read anew
        for seconds in (anew, known):
            start = time.perf_counter()
            assert folders.read(folder).family.name == "wan2.2-t2v-a14b"
            seconds.append(time.perf_counter() - start)
    assert min(known) < min(anew) / 3  # what is known takes its stat calls
    assert min(anew) < 1


def test_modalities_that_a_folder_cannot_be_are_not_among_its_own(tmp_path: Path) -> None:
    found = {kind: set(folders.read(write_model(tmp_path / name, kind)).modalities) for name, kind in NAMED.items()}

    assert Modality.FLF2V not in found[CLIP_I2V]  # CLIP sees one image there
    assert Modality.I2V not in found[FLF2V]  # and two here


NAMED = {"clip": CLIP_I2V, "flf2v": FLF2V}


# Hostile folders


def test_numbers_beyond_all_sense_make_a_broken_folder_and_no_traceback(folder: Path) -> None:
    edit(folder / "transformer" / "config.json", num_attention_heads=10**330)

    assert why(folder).startswith("num_attention_heads of transformer must be a number up to 1,048,576, got 1000")


def test_a_shape_of_thousands_of_huge_sides_is_refused_at_once(folder: Path) -> None:
    """The product of 1,500 numbers of 4,000 digits took three minutes."""
    shape = [int("9" * 4000)] * 1500
    text = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    (folder / "vae" / WHOLE).write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    start = time.process_time()

    assert why(folder).endswith("it has a broken header")
    assert time.process_time() - start < 5


def test_links_in_a_circle_are_no_weights(folder: Path) -> None:
    part = folder / "transformer"
    (part / WHOLE).unlink()
    for one, other in (("fp16", "bf16"), ("bf16", "fp16")):
        (part / f"{STEM}.{one}.safetensors").symlink_to(f"{STEM}.{other}.safetensors")

    assert "could each be meant" in why(folder)


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "\ud800", "\u202e"])
def test_what_a_file_says_of_itself_neither_steers_a_terminal_nor_breaks_a_line(folder: Path, text: str) -> None:
    edit(folder / "model_index.json", _class_name=text)

    assert why(folder).isprintable()
    assert why(folder).encode()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("path", ["model_index.json", "vae/config.json"])
def test_json_that_diffusers_cannot_read_is_found_here(folder: Path, path: str, encoding: str) -> None:
    (folder / path).write_text((folder / path).read_text(), encoding=encoding)

    assert why(folder).endswith("must be JSON in UTF-8, it is not")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
@pytest.mark.parametrize("content", [LFS, b"<html>", b"[]", b'{"a":'])
def test_the_other_files_of_a_tokenizer_are_looked_at_too(folder: Path, name: str, content: bytes) -> None:
    assert folders.read(folder)
    (folder / "tokenizer" / name).write_bytes(content)

    assert why(folder).startswith(f"{name} of tokenizer ")


def test_what_is_known_of_bad_folders_holds_none_of_their_bytes(folder: Path) -> None:
    (folder / "vae" / "config.json").write_bytes(b'{"x": "' + b"y" * 3 * 2**20)
    assert why(folder)
    kept = folders.reader._kept[folder, ()][1]

    assert isinstance(kept, FolderError)
    assert (kept.__context__, kept.__cause__, kept.__traceback__) == (None, None, None)


def test_a_configuration_has_a_few_megabytes_at_most(folder: Path) -> None:
    with (folder / "vae" / "config.json").open("ab") as file:
        file.truncate(5 * 2**20)

    assert why(folder) == "config.json of vae has more than 4,194,304 bytes"


def test_a_change_that_hides_its_time_is_noticed(folder: Path) -> None:
    path = folder / "model_index.json"
    before = path.stat()
    folders.read(folder)
    path.write_text(path.read_text().replace("WanPipeline", "FluPipeline"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert "got FluPipeline" in why(folder)


@pytest.mark.parametrize(
    ("tensors", "families"),
    [
        ({"patch_embedding.weight": (1536, 16, 1, 2, 2)}, "wan2.1-t2v-1.3b"),
        ({"patch_embedding.weight": (5120, 16, 1, 2, 2)}, "wan2.1-t2v-14b wan2.2-t2v-a14b"),
        ({"patch_embedding.weight": (5120, 36, 1, 2, 2)}, "wan2.2-i2v-a14b"),
        ({"patch_embedding.weight": (5120, 36, 1, 2, 2), CLIP: (1,)}, "wan2.1-i2v-14b-480p wan2.1-i2v-14b-720p"),
        ({"patch_embedding.weight": (5120, 36, 1, 2, 2), FIRST_AND_LAST: (1,)}, "wan2.1-flf2v-14b-720p"),
        ({"patch_embedding.weight": (3072, 48, 1, 2, 2)}, "wan2.2-ti2v-5b"),
        ({"patch_embedding.weight": (3072, 16, 1, 2, 2)}, ""),
        ({"patch_embedding.weight": (3072,)}, ""),
        ({}, ""),
    ],
)
def test_a_transformer_looks_like_published_ones(tensors: dict[str, tuple[int, ...]], families: str) -> None:
    assert [each.name for each in alike(tensors)] == families.split()


def test_the_names_of_strangers_files_are_for_the_operator(tmp_path: Path) -> None:
    (tmp_path / "passwords.txt").write_text("x")

    with pytest.raises(FolderError, match=r"it has passwords\.txt") as refused:
        folders.read(tmp_path)
    assert "passwords" not in refused.value.reason
