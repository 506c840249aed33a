"""Loading, sharing and refusals of the diffusers backend, and its choices by device."""

import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.driving import I2V, T2V, TI2V, Reports, copy_of, edit_index, load, make, picture, run, spec, task, video

from bench.tools.layout import VAE, write_model
from nano.measure import psnr
from plugins import diffusers_backend as backend
from plugins.diffusers_backend.options import ATTENTION
from registry import Modality
from router import JobCancelled, LoadFailed

pytestmark = pytest.mark.slow

STEM = "diffusion_pytorch_model"
WHOLE = f"{STEM}.safetensors"


def test_the_trio_shares_one_text_encoder_and_one_vae(family: Path, pool: Any) -> None:
    kinds = ((T2V, Modality.T2V), (I2V, Modality.I2V), (TI2V, Modality.TI2V))
    loaded = [load(spec(family / name, modality), pool) for name, modality in kinds]

    assert len({address(each.parts["text_encoder"]) for each in loaded}) == 1
    assert len({address(each.decoder) for each in loaded}) == 1
    assert len({address(each.parts["vae"]) for each in loaded[1:]}) == 1
    assert loaded[1].encoding is loaded[2].encoding
    assert len({id(each.parts["transformer"]) for each in loaded}) == 3


def address(module: Any) -> int:
    return int(next(module.parameters()).data_ptr())


def test_a_vae_is_read_in_two_halves_and_the_encoder_only_where_images_come_in(
    family: Path, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from diffusers import AutoencoderKLWan

    from plugins.wan.weights import transfer

    read: list[str] = []
    given = transfer.read
    monkeypatch.setattr(
        transfer, "read", lambda stored, *rest, **more: read.extend(stored) or given(stored, *rest, **more)
    )
    text, image = (
        load(spec(family / name, modality), pool) for name, modality in ((TI2V, Modality.T2V), (TI2V, Modality.TI2V))
    )

    whole = AutoencoderKLWan.from_pretrained(family / TI2V / "vae").state_dict()
    halves = [dict(half.state_dict()) for half in (image.parts["vae"], image.decoder)]
    assert text.parts["vae"] is text.decoder is image.decoder
    assert halves[0].keys() | halves[1].keys() == whole.keys()
    assert not halves[0].keys() & halves[1].keys()
    assert all(torch.equal(tensor, whole[name]) for half in halves for name, tensor in half.items())
    assert sorted(name for name in read if name in whole) == sorted(whole)  # each once


def test_a_decoder_may_have_a_format_of_its_own(family: Path, pool: Any) -> None:
    import torch

    asked = task(prompt="a red ball moves to the left", image=picture())
    full, half = (load(spec(family / I2V, Modality.I2V, {"decoder_dtype": dtype}), pool) for dtype in ("auto", "bf16"))
    made = [video(run(spec(family / I2V, Modality.I2V), each, asked)) for each in (full, half)]

    assert [next(each.decoder.parameters()).dtype for each in (full, half)] == [torch.float32, torch.bfloat16]
    assert half.parts["vae"] is full.parts["vae"]
    assert psnr(*made) > 40


def test_another_dtype_is_another_part(whole_family: Path, pool: Any) -> None:
    import torch

    half = load(spec(whole_family / T2V, Modality.T2V, {"dtype": "bf16"}), pool)
    full = load(spec(whole_family / T2V, Modality.T2V), pool)

    assert half.parts["transformer"].proj_out.weight.dtype == torch.bfloat16
    assert full.parts["transformer"].proj_out.weight.dtype == torch.float32
    assert half.decoder is full.decoder  # in fp32 for both
    assert video(run(spec(whole_family / T2V, Modality.T2V), half, task())).std() > 20


def vae_of(folder: Path) -> Any:
    from plugins.wan.checkpoint import read

    return read(folder).parts["vae"]


def test_a_copy_in_the_hubs_cache_is_the_same_part(tmp_path: Path) -> None:
    from plugins.wan.weights.identity import of_part
    from router.engine.digests import Digests

    for repository, version in (("a", "5.0"), ("b", "5.1")):
        folder = write_model(tmp_path / repository)
        (blob := tmp_path / f"{repository}.blob").write_bytes((folder / "vae" / WHOLE).read_bytes())
        (folder / "vae" / WHOLE).unlink()
        (folder / "vae" / WHOLE).symlink_to(blob)
        config = {**VAE, "z_dim": 16, "scale_factor_spatial": 8, "_diffusers_version": version}
        (folder / "vae" / "config.json").write_text(json.dumps(config))
    first, second = vae_of(tmp_path / "a"), vae_of(tmp_path / "b")

    assert of_part(first, Digests().of) == of_part(second, Digests().of)
    (tmp_path / "b" / "vae" / "config.json").write_text(json.dumps({**VAE, "z_dim": 16, "scale_factor_spatial": 4}))
    assert of_part(first, Digests().of) != of_part(vae_of(tmp_path / "b"), Digests().of)


def test_files_that_are_not_read_neither_count_nor_weigh(family: Path, tmp_path: Path, pool: Any) -> None:
    """Unread weights beside those that count: the same parts, the same size."""
    from safetensors.torch import load_file, save_file

    folder = copy_of(family / T2V, tmp_path)
    for part, stem in (("transformer", "diffusion_pytorch_model"), ("text_encoder", "model"), ("vae", STEM)):
        tensors = load_file(folder / part / f"{stem}.safetensors")
        for name in ("ema_model.safetensors", f"{stem}.fp16.safetensors", f"{stem}-00001-of-00009.safetensors"):
            save_file({key: tensor + 1 for key, tensor in tensors.items()}, folder / part / name)
        (folder / part / "optimizer.bin").write_bytes(bytes(10**6))
    plain, strays = (load(spec(each, Modality.T2V), pool) for each in (family / T2V, folder))

    assert all(strays.parts[name] is plain.parts[name] for name in ("transformer", "text_encoder", "vae"))


def test_the_shards_of_an_index_run_and_an_older_whole_file_does_not(family: Path, tmp_path: Path, pool: Any) -> None:
    """Loading the older file gave frames up to 81 of 255 levels off."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = copy_of(family / T2V, tmp_path)
    for part in ("transformer", "transformer_2"):
        whole = folder / part / WHOLE
        tensors = load_file(whole)
        names = sorted(tensors)
        shards = {f"{STEM}-00001-of-00002.safetensors": names[::2], f"{STEM}-00002-of-00002.safetensors": names[1::2]}
        for file, own in shards.items():
            save_file({name: tensors[name] for name in own}, folder / part / file)
        save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, whole)
        index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
        (folder / part / f"{WHOLE}.index.json").write_text(json.dumps(index))
    asked = task(steps=2, num_frames=5)
    made = [
        video(run(model, load(model, pool), asked)) for model in (spec(f, Modality.T2V) for f in (family / T2V, folder))
    ]

    assert (made[0] == made[1]).all()


def test_a_folder_that_became_another_model_is_not_run(family: Path, tmp_path: Path, pool: Any) -> None:
    folder = copy_of(family / T2V, tmp_path)
    model = spec(folder, Modality.T2V)
    edit_index(folder, transformer_2=[None, None], boundary_ratio=None)

    with pytest.raises(LoadFailed, match=r"was read as one with experts 2, its folder has 1: 'framegate reload'"):
        load(model, pool)


def test_what_is_reported_are_the_bytes_that_have_arrived(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    reports = Reports()

    backend.load_model(model, "cpu", pool, reports)

    total = sum(pool.reserved.values())
    assert {each for _, each in reports} == {total}
    done = [each for each, _ in reports]
    assert done == sorted(done)
    assert done[-1] == total
    assert len(set(done)) > 100  # tensor by tensor


def test_parts_that_are_there_count_as_arrived(family: Path, pool: Any) -> None:
    load(spec(family / T2V, Modality.T2V), pool)
    reports = Reports()

    backend.load_model(spec(family / T2V, Modality.T2V), "cpu", pool, reports)

    assert reports[-1] == (sum(pool.reserved.values()),) * 2
    assert len(reports) == 10  # each of the five parts when it has a key, and when it is taken


@pytest.mark.parametrize("stop", [1, 8, 100, 300])
def test_any_report_can_be_the_last(whole_family: Path, pool: Any, stop: int) -> None:
    reports = Reports(stop)

    with pytest.raises(JobCancelled):
        backend.load_model(spec(whole_family / T2V, Modality.T2V), "cpu", pool, reports)

    assert len(reports) == stop


def test_weights_are_those_that_the_libraries_read(tiny: Path, family: Path, pool: Any) -> None:
    import torch

    from plugins.wan import checkpoint as checkpoints
    from plugins.wan.weights.placement import class_of

    for folder, modality in ((tiny / "i2v-clip", Modality.I2V), (family / T2V, Modality.T2V)):
        for dtype, option in ((torch.float32, "fp32"), (torch.bfloat16, "bf16"), (torch.float16, "fp16")):
            loaded = load(spec(folder, modality, {"dtype": option}), pool)
            for name, part in checkpoints.read(folder).parts.items():
                if name == "vae" or not isinstance(got := loaded.parts.get(name), torch.nn.Module):
                    continue
                own = torch.float32 if name == "image_encoder" else dtype
                expected = class_of(part).from_pretrained(part.folder, dtype=own, device_map="cpu")
                assert_same(got, expected)


def assert_same(got: Any, expected: Any) -> None:
    import torch

    assert not got.training
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = (dict(getattr(module, kind)()) for module in (got, expected))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype, name
            assert torch.equal(tensor, theirs[name]), name


def test_clip_from_an_older_transformers_is_read(tiny: Path, tmp_path: Path, pool: Any) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = copy_of(tiny / "i2v-clip", tmp_path)
    path = folder / "image_encoder" / "model.safetensors"
    tensors = {f"vision_model.{name}": tensor for name, tensor in load_file(path).items()}
    save_file(tensors | {"vision_model.embeddings.position_ids": torch.arange(257)[None]}, path)

    old, new = (load(spec(each, Modality.I2V), pool).parts["image_encoder"] for each in (folder, tiny / "i2v-clip"))

    assert_same(old, new)


def test_a_text_encoder_that_has_its_embedding_twice_holds_it_once(family: Path, tmp_path: Path, pool: Any) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(family / T2V, tmp_path)
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"].clone()}, path)

    encoder = load(spec(folder, Modality.T2V), pool).parts["text_encoder"]

    assert encoder.encoder.embed_tokens.weight is encoder.shared.weight


def test_an_unloaded_model_lets_go_of_its_parts(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    run(model, loaded, task(steps=1))

    backend.unload_model(loaded, gone=True)

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
        (lambda folder: (folder / "model_index.json").unlink(), "a folder of diffusers weights has a model_index.json: it has none"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json must be JSON in UTF-8, it is not"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "must hold a JSON object, got list"),
        (lambda folder: edit_index(folder, _class_name="FluxPipeline"), "WanImageToVideoPipeline, got FluxPipeline"),
        (lambda folder: edit_index(folder, vae=["evil", "Vae"]), r"vae .* must be AutoencoderKLWan of diffusers, got"),
        (lambda folder: edit_index(folder, vae=[None, None]), "model_index.json must list a vae"),
        (lambda folder: edit_index(folder, transformer_2=None), "boundary_ratio 0.875, so it needs a transformer_2"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "the folder tokenizer is missing"),
        (lambda folder: (folder / "tokenizer" / "tokenizer.json").write_text("{}"), "a whole PreTrainedTokenizerFast"),
        (lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "or shards and their index, got none"),
        (lambda folder: (folder / "vae" / "config.json").unlink(), "config.json of vae is missing"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "config.json of vae must be JSON in UTF-8, it is not"),
        (lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(), "the folder scheduler is empty"),
        (lambda folder: write_config(folder, ffn_dim=640), "proj.weight of transformer is 512x128, its config.json needs 640x128"),
        (lambda folder: write_config(folder, image_dim=32, added_kv_proj_dim=128), "lacks the tensor condition_embedder.image_embedder.norm1.weight"),
        (truncate, "diffusion_pytorch_model.safetensors of vae is cut short: it has .* bytes; fetch it again"),
        (drop_a_weight, "transformer lacks the tensor blocks.1.attn1.to_q.weight, which its config.json needs"),
        (drop_a_text_weight, "text_encoder lacks weights .* such as encoder.final_layer_norm.weight"),
        (pickle_instead, "got pytorch_model.bin: pickles can run code and are not read"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_whole_is_said_to_be_so(
    family: Path, tmp_path: Path, pool: Any, damage: Any, says: str
) -> None:
    folder = copy_of(family / T2V, tmp_path)
    damage(folder)

    with pytest.raises(LoadFailed, match=says) as raised:
        load(spec(folder, Modality.T2V), pool)

    assert str(folder) not in raised.value.message


class Bomb:
    """An object whose pickle creates a file when it is read."""

    def __init__(self, left: Path) -> None:
        self.left = left

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.left,)


def bomb(folder: Path) -> tuple[bytes, Path]:
    """Return a pickle, and the file that is there once somebody has read it."""
    left = folder / "owned"
    pickle.loads(pickle.dumps(Bomb(left)))
    assert left.exists()
    left.unlink()
    return pickle.dumps(Bomb(left)), left


PARTS = ("text_encoder", "transformer", "transformer_2", "vae")  # of the nano family's image-to-video model
PICKLED = ("pytorch_model.bin", "diffusion_pytorch_model.pt", "model.pth", "model.ckpt")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", PICKLED)
def test_a_part_of_nothing_but_a_pickle_is_refused_and_not_read(
    family: Path, tmp_path: Path, pool: Any, part: str, name: str
) -> None:
    folder = copy_of(family / I2V, tmp_path)
    data, left = bomb(tmp_path)
    for weights in (folder / part).glob("*.safetensors*"):
        weights.unlink()
    (folder / part / name).write_bytes(data)

    with pytest.raises(LoadFailed, match=f"{part} needs .*, got {name}: pickles can run code"):
        load(spec(folder, Modality.I2V), pool)
    assert not left.exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_pickle_that_is_called_safetensors_is_not_read(family: Path, tmp_path: Path, pool: Any, part: str) -> None:
    folder = copy_of(family / I2V, tmp_path)
    data, left = bomb(tmp_path)
    (weights,) = (folder / part).glob("*.safetensors")
    weights.write_bytes(data)

    with pytest.raises(LoadFailed, match=f"{weights.name} of {part} is a pickle"):
        load(spec(folder, Modality.I2V), pool)
    assert not left.exists()


def test_pickles_beside_safetensors_are_left_alone(family: Path, tmp_path: Path, pool: Any) -> None:
    folder = copy_of(family / T2V, tmp_path)
    data, left = bomb(tmp_path)
    for part in ("text_encoder", "transformer", "vae", "tokenizer", "scheduler"):
        for name in (*PICKLED, "training_args.bin", "model.pkl"):
            (folder / part / name).write_bytes(data)
    write_config(folder, use_safetensors=False)

    assert load(spec(folder, Modality.T2V), pool).parts.keys() >= {"text_encoder", "transformer", "vae"}
    assert not left.exists()


def test_an_index_that_names_a_pickle_brings_none(family: Path, tmp_path: Path, pool: Any) -> None:
    folder = copy_of(family / T2V, tmp_path)
    data, left = bomb(tmp_path)
    (folder / "text_encoder" / "model.safetensors").unlink()
    (folder / "text_encoder" / "pytorch_model.bin").write_bytes(data)
    index = {"metadata": {}, "weight_map": {"shared.weight": "pytorch_model.bin"}}
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(LoadFailed, match=r"must name \.safetensors files beside it, got 'pytorch_model\.bin'"):
        load(spec(folder, Modality.T2V), pool)
    assert not left.exists()


def test_code_that_comes_with_a_model_never_runs(family: Path, tmp_path: Path, pool: Any) -> None:
    folder = copy_of(family / T2V, tmp_path)
    left = tmp_path / "owned"
    for part in ("tokenizer", "text_encoder", "transformer", "vae"):
        (folder / part / "evil.py").write_text(f"open({str(left)!r}, 'w')\nclass Evil: pass\n")
        for path in (folder / part).glob("*config.json"):
            maps = dict.fromkeys(("AutoTokenizer", "AutoModel", "AutoConfig"), "evil.Evil")
            path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": maps}))

    with suppress(LoadFailed):
        load(spec(folder, Modality.T2V), pool)
    assert not left.exists()


@pytest.mark.parametrize(
    ("name", "modality", "says"),
    [
        (T2V, Modality.I2V, "is declared image-to-video, its folder of weights is text-to-video"),
        (I2V, Modality.T2V, "is declared text-to-video, its folder of weights is image-to-video or first-and"),
        (TI2V, Modality.FLF2V, "is declared first-and-last-frame-to-video, its folder of weights is text-and-image"),
    ],
)
def test_a_model_declared_as_what_its_folder_cannot_do_is_not_loaded(
    family: Path, pool: Any, name: str, modality: Modality, says: str
) -> None:
    with pytest.raises(LoadFailed, match=says):
        load(spec(family / name, modality), pool)


def test_clip_for_two_images_does_not_take_one(tiny: Path, pool: Any) -> None:
    with pytest.raises(LoadFailed, match="its folder of weights is first-and-last-frame-to-video"):
        load(spec(tiny / "flf2v-clip", Modality.I2V), pool)


def test_clip_of_other_tokens_than_the_transformer_has_places_for_is_refused(tmp_path: Path, pool: Any) -> None:
    from support import tiny as checkpoints

    checkpoints.make_clip_flf2v(tmp_path / "one")
    checkpoints.make_clip_flf2v(tmp_path / "other", patch=56)
    shutil.rmtree(tmp_path / "one" / "image_encoder")
    shutil.copytree(tmp_path / "other" / "image_encoder", tmp_path / "one" / "image_encoder")

    with pytest.raises(LoadFailed, match="pos_embed_seq_len 514, image_encoder makes 34 tokens of two images"):
        load(spec(tmp_path / "one", Modality.FLF2V), pool)


def test_clip_for_one_image_does_not_take_two(tiny: Path, pool: Any) -> None:
    with pytest.raises(
        LoadFailed, match="is declared first-and-last-frame-to-video, its folder of weights is image-to-video"
    ):
        load(spec(tiny / "i2v-clip", Modality.FLF2V), pool)


@pytest.mark.parametrize(
    ("name", "fast"),
    [(name, True) for name in ATTENTION if name not in ("auto", "flash_4")]
    + [(name, False) for name in ("native", "flex", "_native_cudnn")],
)
def test_an_attention_backend_that_does_not_run_here_fails_the_load(
    family: Path, pool: Any, name: str, fast: bool
) -> None:
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as Registry

    model, before = spec(family / T2V, Modality.T2V, {"attention": name, "fast": fast}), Registry.get_active_backend()
    if name in ("native", "_native_math", "_native_flash", "flex"):
        asked = task(steps=1, num_frames=1)
        assert video(run(model, load(model, pool), asked)).std() > 2
    else:
        with pytest.raises(LoadFailed, match=f"attention {name} must be usable on this machine, trying it gave"):
            load(model, pool)

    assert Registry.get_active_backend() == before  # it is that of every pipeline without one of its own


def test_an_attention_backend_that_gives_other_numbers_fails_the_load(
    family: Path, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.models import attention_dispatch as theirs

    wrong = {**theirs._AttentionBackendRegistry._backends}
    plain = wrong[theirs.AttentionBackendName.NATIVE]
    wrong[theirs.AttentionBackendName._NATIVE_MATH] = lambda **given: 0.97 * plain(**given)
    monkeypatch.setattr(theirs._AttentionBackendRegistry, "_backends", wrong)

    with pytest.raises(LoadFailed, match=r"its numbers for torch.float32 on cpu are 0.03 off"):
        load(spec(family / T2V, Modality.T2V, {"attention": "_native_math"}), pool)


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

    from plugins.diffusers_backend.attention_backend import attention_for

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

    from plugins.wan.weights.placement import dtype_for

    assert dtype_for("auto", "cpu") == torch.float32
    assert dtype_for("auto", "cuda:1") == torch.bfloat16
    assert dtype_for("fp16", "cuda:0") == torch.float16
