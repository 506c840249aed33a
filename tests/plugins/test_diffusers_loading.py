"""What the diffusers backend loads, shares and refuses, and what it picks for the card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from driving import I2V, T2V, TI2V, Reports, copy_of, edit_index, load, make, run, spec, task, video

from plugins import diffusers_backend as backend
from registry import Modality
from router import JobCancelled, LoadFailed

pytestmark = pytest.mark.slow


def test_the_trio_shares_one_text_encoder_and_one_vae(family: Path, pool: Any) -> None:
    kinds = ((T2V, Modality.T2V), (I2V, Modality.I2V), (TI2V, Modality.TI2V))
    loaded = [load(spec(family / name, modality), pool) for name, modality in kinds]

    for part in ("text_encoder", "vae"):
        assert len({next(each.parts[part].parameters()).data_ptr() for each in loaded}) == 1
    assert len({id(each.encoding) for each in loaded}) == 1
    assert len({id(each.parts["transformer"]) for each in loaded}) == 3


def test_another_dtype_is_another_part(family: Path, pool: Any) -> None:
    import torch

    half = load(spec(family / T2V, Modality.T2V, {"dtype": "bf16"}), pool)
    full = load(spec(family / T2V, Modality.T2V), pool)

    assert half.parts["transformer"].proj_out.weight.dtype == torch.bfloat16
    assert full.parts["transformer"].proj_out.weight.dtype == torch.float32
    assert half.parts["vae"] is full.parts["vae"]  # in fp32 for both
    assert video(run(spec(family / T2V, Modality.T2V), half, task())).std() > 20


def test_a_copy_in_the_hubs_cache_is_the_same_part(tmp_path: Path) -> None:
    from plugins.diffusers_backend.identity import of_folder

    for repository, version in (("a", "5.0"), ("b", "5.1")):
        blobs, part = tmp_path / repository / "blobs", tmp_path / repository / "snapshots" / "1" / "vae"
        blobs.mkdir(parents=True)
        part.mkdir(parents=True)
        (blobs / "c0ffee").write_bytes(b"weights")
        (part / "model.safetensors").symlink_to(blobs / "c0ffee")
        (part / "config.json").write_text(json.dumps({"z_dim": 16, "_diffusers_version": version}))
    first, second = (tmp_path / repository / "snapshots" / "1" / "vae" for repository in "ab")

    assert of_folder(first) == of_folder(second)
    (second / "config.json").write_text(json.dumps({"z_dim": 48}))
    assert of_folder(first) != of_folder(second)


def test_each_part_is_reported_and_can_be_the_last(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    reports = Reports()

    backend.load_model(model, "cpu", pool, reports)

    assert reports == [(done, 5) for done in range(1, 6)]
    with pytest.raises(JobCancelled):
        backend.load_model(model, "cpu", pool, Reports(stop=2))


def test_an_unloaded_model_lets_go_of_its_parts(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    run(model, loaded, task(steps=1))

    backend.unload_model(loaded)

    assert loaded.parts == {}


def test_models_of_one_encoder_share_their_prompts(family: Path, pool: Any) -> None:
    t2v, ti2v = (
        load(spec(family / name, modality), pool) for name, modality in ((T2V, Modality.T2V), (TI2V, Modality.TI2V))
    )

    assert t2v.prompts is ti2v.prompts


def truncate(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def drop_a_weight(folder: Path) -> None:
    drop(folder / "transformer" / "diffusion_pytorch_model.safetensors", "blocks.1.attn1.to_q.weight")


def drop_a_text_weight(folder: Path) -> None:
    drop(folder / "text_encoder" / "model.safetensors", "encoder.final_layer_norm.weight")


def drop(weights: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    del tensors[name]
    save_file(tensors, weights, metadata={"format": "pt"})


def pickle_instead(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "pytorch_model.bin")


def write_config(folder: Path, **changes: object) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), r"needs a model_index.json .*, got: No such"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json must be JSON, it is not"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "must hold a JSON object, got list"),
        (lambda folder: edit_index(folder, _class_name="FluxPipeline"), "WanImageToVideoPipeline, got 'FluxPipeline'"),
        (lambda folder: edit_index(folder, vae=["evil", "Vae"]), r"vae .* must be AutoencoderKLWan of diffusers, got"),
        (lambda folder: edit_index(folder, vae=[None, None]), "model_index.json must list a vae"),
        (lambda folder: edit_index(folder, transformer_2=None), "boundary_ratio 0.875, so it needs a transformer_2"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "needs a folder tokenizer, which .*; it is not there"),
        (lambda folder: (folder / "tokenizer" / "tokenizer.json").write_text("{}"), "a whole PreTrainedTokenizerFast"),
        (lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(), r"safetensors, got none"),
        (lambda folder: (folder / "vae" / "config.json").unlink(), "a whole AutoencoderKLWan, reading it gave OSError"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "vae must hold a whole AutoencoderKLWan"),
        (lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(), "a whole UniPCMultistepScheduler"),
        (lambda folder: write_config(folder, ffn_dim=640), "transformer must hold a whole WanTransformer3DModel"),
        (lambda folder: write_config(folder, image_dim=32, added_kv_proj_dim=128), "transformer lacks weights"),
        (truncate, "vae must hold a whole AutoencoderKLWan, reading it gave OSError"),
        (drop_a_weight, "transformer lacks weights that a WanTransformer3DModel of its config.json needs"),
        (drop_a_text_weight, "text_encoder lacks weights .* such as encoder.final_layer_norm.weight"),
        (pickle_instead, "got only pytorch_model.bin; pickled weights can run code and are not read"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_whole_is_said_to_be_so(
    family: Path, tmp_path: Path, pool: Any, damage: Any, says: str
) -> None:
    folder = copy_of(family / T2V, tmp_path)
    damage(folder)

    with pytest.raises(LoadFailed, match=says) as raised:
        load(spec(folder, Modality.T2V), pool)

    assert str(folder) in raised.value.message


@pytest.mark.parametrize(
    ("name", "modality", "says"),
    [
        (T2V, Modality.I2V, "holds a WanPipeline for t2v, the model is declared i2v"),
        (I2V, Modality.T2V, "holds a WanImageToVideoPipeline for i2v or flf2v, the model is declared t2v"),
        (TI2V, Modality.FLF2V, "holds a WanPipeline for t2v or i2v or ti2v, the model is declared flf2v"),
    ],
)
def test_a_model_declared_as_what_its_folder_cannot_do_is_not_loaded(
    family: Path, pool: Any, name: str, modality: Modality, says: str
) -> None:
    with pytest.raises(LoadFailed, match=says):
        load(spec(family / name, modality), pool)


def test_clip_for_one_image_does_not_take_two(tiny: Path, pool: Any) -> None:
    with pytest.raises(LoadFailed, match="takes one image"):
        load(spec(tiny / "i2v-clip", Modality.FLF2V), pool)


def test_an_attention_backend_that_is_not_here_is_said_to_be_so(family: Path, pool: Any) -> None:
    with pytest.raises(LoadFailed, match="attention flash must be usable on this machine, trying it gave"):
        load(spec(family / T2V, Modality.T2V, {"attention": "flash"}), pool)


def test_loading_and_running_print_nothing(family: Path, pool: Any, capfd: pytest.CaptureFixture[str]) -> None:
    make(family / T2V, Modality.T2V, task(prompt="x" * 600), pool)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("major", "flash_3", "chosen"),
    [
        (8, True, "native"),
        (9, False, "_native_cudnn"),
        (9, True, "_flash_3_hub"),
        (10, True, "_native_cudnn"),
        (12, True, "native"),
    ],
)
def test_attention_suits_the_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, major: int, flash_3: bool, chosen: str
) -> None:
    import importlib.util

    import torch
    from huggingface_hub import constants

    from plugins.diffusers_backend.device import attention_for

    (tmp_path / "models--kernels-community--flash-attn3" / "snapshots" / "1").mkdir(parents=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    if flash_3:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    assert attention_for("auto", "cuda:0", torch.bfloat16) == chosen
    assert attention_for("auto", "cuda:0", torch.float32) == "native"  # the fast kernels take 16 bits only
    assert attention_for("flash", "cuda:0", torch.bfloat16) == "flash"
    assert attention_for("auto", "cpu", torch.float32) == "native"


def test_the_format_suits_the_device() -> None:
    import torch

    from plugins.diffusers_backend.device import dtype_for

    assert dtype_for("auto", "cpu") == torch.float32
    assert dtype_for("auto", "cuda:1") == torch.bfloat16
    assert dtype_for("fp16", "cuda:0") == torch.float16
