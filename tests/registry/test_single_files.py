"""Single files over a base folder: spellings, formats, and other models' files."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from support import tiny, weight_files
from support.weight_files import State

from nano import parts
from registry import folders
from registry.folders import FolderError, Tensor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder whose transformer, text encoder and VAE other files must replace."""
    folder = tmp_path_factory.mktemp("base")
    tiny.make_clip_flf2v(folder)
    for part in ("transformer", "text_encoder", "vae"):
        for weights in (folder / part).glob("*.safetensors"):
            weights.unlink()
    return folder


@cache
def state(part: str) -> State:
    folder = {
        "transformer": lambda: tiny.transformer(
            parts.I2V_CHANNELS, image_dim=tiny.IMAGE_DIM, added_kv_proj_dim=128, pos_embed_seq_len=514
        ),
        "text_encoder": parts.text_encoder,
        "vae": tiny.vae_of_2_1,
    }
    found = parts.seeded(3, folder[part]).state_dict()
    return weight_files.untied(found) if part == "text_encoder" else found


def original(part: str) -> dict[str, torch.Tensor]:
    """Return a part by the names of Wan's repository."""
    match part:
        case "transformer":
            return weight_files.original_transformer(state(part))
        case "text_encoder":
            return weight_files.original_text_encoder(state(part))
    return weight_files.original_vae(state(part), 1, residual=False)


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a file for each part, by original names."""
    folder = tmp_path_factory.mktemp("whole")
    names = ("transformer", "text_encoder", "vae")
    return {part: weight_files.write_safetensors(folder / f"{part}.safetensors", original(part)) for part in names}


Read = Callable[..., dict[str, Tensor]]


@pytest.fixture
def read(base: Path, whole: dict[str, Path]) -> Read:
    """Return the tensors of a part from a file over the base."""

    def read(part: str, file: Path) -> dict[str, Tensor]:
        weights = folders.read(base, {**whole, part: file}).parts[part].weights
        assert weights is not None
        return weights.read()

    return read


@pytest.fixture
def why(read: Read) -> Callable[[str, Path], str]:
    """Return why a file is refused; no path is in it."""

    def why(part: str, file: Path) -> str:
        with pytest.raises(FolderError) as refused:
            read(part, file)
        assert str(file.parent) not in refused.value.reason
        return refused.value.reason

    return why


def content(tensor: Tensor) -> bytes:
    return tensor.file.read_bytes()[tensor.offset :][: tensor.length]


def checkpoint() -> dict[str, torch.Tensor]:
    """Return the parts in one state dict, as a checkpoint of ComfyUI's has them."""
    return {
        **weight_files.original_transformer(state("transformer"), "model.diffusion_model."),
        **weight_files.comfy_text_encoder(state("text_encoder"), "text_encoders.umt5xxl.transformer."),
        **weight_files.original_vae(state("vae"), 1, residual=False, prefix="vae."),
        "text_encoders.umt5xxl.logit_scale": torch.ones(()),
        "clip_vision.vision_model.x": torch.ones(3),
    }


SPELLINGS: dict[str, tuple[str, Callable[[], dict[str, torch.Tensor]]]] = {
    "diffusers' transformer": ("transformer", lambda: dict(state("transformer"))),
    "the original transformer": ("transformer", lambda: original("transformer")),
    "ComfyUI's transformer": (
        "transformer",
        lambda: weight_files.original_transformer(state("transformer"), "model.diffusion_model."),
    ),
    "a compiled transformer": (
        "transformer",
        lambda: weight_files.original_transformer(state("transformer"), "_orig_mod."),
    ),
    "transformers' umT5": ("text_encoder", lambda: dict(state("text_encoder"))),
    "an umT5 with the other name of its embedding": (
        "text_encoder",
        lambda: {
            name.replace("shared.", "encoder.embed_tokens."): each for name, each in state("text_encoder").items()
        },
    ),
    "the original umT5": ("text_encoder", lambda: original("text_encoder")),
    "ComfyUI's umT5": ("text_encoder", lambda: weight_files.comfy_text_encoder(state("text_encoder"))),
    "diffusers' VAE": ("vae", lambda: dict(state("vae"))),
    "the original VAE": ("vae", lambda: original("vae")),
    "the transformer of a checkpoint": ("transformer", checkpoint),
    "the umT5 of a checkpoint": ("text_encoder", checkpoint),
    "the VAE of a checkpoint": ("vae", checkpoint),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_is_read_by_the_names_of_the_classes(tmp_path: Path, read: Read, spelling: str) -> None:
    part, written = SPELLINGS[spelling]
    file = weight_files.write_safetensors(tmp_path / "any name.bin", written())

    found = read(part, file)

    wanted = state(part)
    if "encoder.embed_tokens.weight" in found:
        found["shared.weight"] = found.pop("encoder.embed_tokens.weight")
    assert {name: tensor.shape for name, tensor in found.items()} == {k: tuple(v.shape) for k, v in wanted.items()}
    for name in list(wanted)[:: max(1, len(wanted) // 20)]:
        assert content(found[name]) == wanted[name].contiguous().numpy().tobytes()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_names_of_a_vae_follow_its_configuration(tmp_path: Path, base: Path, blocks: int, residual: bool) -> None:
    changes = {"dim_mult": [1, 2, 2], "temperal_downsample": [True, False], "num_res_blocks": blocks}
    vae = AutoencoderKLWan(base_dim=4, is_residual=residual, **changes)
    folder = shutil.copytree(base, tmp_path / "m")
    vae.save_config(folder / "vae")
    written = weight_files.original_vae(vae.state_dict(), blocks, residual=residual)
    file = weight_files.write_safetensors(tmp_path / "vae.safetensors", written)
    part = folders.parts.read_part(folder, "vae", ["diffusers", "AutoencoderKLWan"], file)

    assert part is not None
    assert part.weights is not None
    assert part.weights.read().keys() == vae.state_dict().keys()


GGUF: dict[str, tuple[str, str | None, Callable[[], dict[str, torch.Tensor]]]] = {
    "a transformer": ("transformer", "wan", lambda: original("transformer")),
    "a transformer of no architecture": ("transformer", None, lambda: original("transformer")),
    "llama.cpp's umT5": (
        "text_encoder",
        "t5encoder",
        lambda: weight_files.llama_cpp_text_encoder(state("text_encoder")),
    ),
    "ComfyUI's umT5": ("text_encoder", "t5", lambda: dict(state("text_encoder"))),
    "a VAE": ("vae", None, lambda: original("vae")),
}


KINDS = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
EACH = [("a transformer", kind) for kind in KINDS] + [(name, "Q8_0") for name in GGUF if name != "a transformer"]


@pytest.mark.parametrize(("name", "kind"), EACH)
def test_gguf_is_read_by_the_names_of_the_classes(tmp_path: Path, read: Read, name: str, kind: str) -> None:
    part, arch, written = GGUF[name]
    tokens = 300 if part == "text_encoder" else 0
    file = weight_files.write_gguf(tmp_path / "x.safetensors", written(), arch, kind, tokens=tokens)

    found = read(part, file)

    wanted = state(part)
    assert {name: tensor.shape for name, tensor in found.items()} == {k: tuple(v.shape) for k, v in wanted.items()}
    plain = [name for name, tensor in found.items() if tensor.dtype == "F32"]
    assert {tensor.dtype for tensor in found.values()} <= {"F32", kind}
    assert part == "vae" or len(plain) < len(found)
    for name in plain[:: max(1, len(plain) // 20)]:
        assert content(found[name]) == wanted[name].contiguous().numpy().tobytes()


def test_tables_of_gguf_may_lack_their_first_side(tmp_path: Path, read: Read) -> None:
    """Ggml drops what it counts as last sides of 1."""
    written = {
        name: each.squeeze(0) if "modulation" in name else each for name, each in original("transformer").items()
    }
    written["img_emb.emb_pos"] = written["img_emb.emb_pos"].squeeze(0)

    found = read("transformer", weight_files.write_gguf(tmp_path / "x.gguf", written))

    assert found["scale_shift_table"].shape == (1, 2, 128)
    assert found["blocks.1.scale_shift_table"].shape == (1, 6, 128)
    assert found["condition_embedder.image_embedder.pos_embed"].shape == (1, 514, tiny.IMAGE_DIM)


# What does not fit the base


def without(part: str, name: str) -> dict[str, torch.Tensor]:
    return {key: each for key, each in original(part).items() if key != name}


def transformer(**changes: Any) -> dict[str, torch.Tensor]:
    return weight_files.original_transformer(tiny.transformer(**changes).state_dict())


CLIP = {"in_channels": parts.I2V_CHANNELS, "image_dim": tiny.IMAGE_DIM, "added_kv_proj_dim": 128}
CLIP |= {"pos_embed_seq_len": 514}
BASE = "its base's config.json needs"


@pytest.mark.parametrize(
    ("part", "written", "said"),
    [
        (
            "transformer",
            lambda: weight_files.original_transformer(parts.transformer(**CLIP, num_layers=3).state_dict()),
            f"x.safetensors of transformer has weights of 3 blocks, {BASE} 2",
        ),
        (
            "transformer",
            lambda: transformer(**{**CLIP, "in_channels": 16}),
            f"patch_embedding.weight is 128x16x1x2x2 in x.safetensors of transformer, {BASE} 128x36x1x2x2",
        ),
        (
            "transformer",
            lambda: {"patch_embedding.weight": torch.ones(3072, 48, 1, 2, 2), "blocks.0.modulation": torch.ones(1)},
            f"x.safetensors of transformer has weights of 1 blocks, {BASE} 2: the file looks like wan2.2-ti2v-5b",
        ),
        (
            "transformer",
            lambda: original("transformer") | {"vace_blocks.0.before_proj.weight": torch.ones(2)},
            "x.safetensors of transformer holds 'vace_blocks.0.before_proj.weight', which no Wan transformer of its "
            "base's config.json has: it may be of another model",
        ),
        (
            "transformer",
            lambda: {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.ones(2)},
            f"x.safetensors of transformer has weights of 1 blocks, {BASE} 2",
        ),
        (
            "transformer",
            lambda: {"double_blocks.0.x.weight": torch.ones(2)},
            "x.safetensors of transformer holds 'double_blocks.0.x.weight', which no Wan transformer",
        ),
        (
            "transformer",
            lambda: without("transformer", "blocks.1.modulation"),
            f"x.safetensors of transformer lacks the tensor blocks.1.scale_shift_table, which {BASE}",
        ),
        (
            "transformer",
            lambda: original("transformer") | {"proj_out.bias": torch.ones(64)},
            "x.safetensors of transformer holds 'proj_out.bias' twice, by two names",
        ),
        (
            "transformer",
            lambda: original("transformer") | {"model.diffusion_model.head.head.bias": torch.ones(64)},
            "x.safetensors of transformer holds 'head.head.bias' twice, by two names",
        ),
        (
            "transformer",
            lambda: weight_files.comfy_text_encoder(state("text_encoder")),
            "x.safetensors of transformer holds the weights of a text_encoder: write the file as parts.text_encoder",
        ),
        (
            "text_encoder",
            lambda: original("transformer"),
            "x.safetensors of text_encoder holds the weights of a transformer: write the file as parts.transformer",
        ),
        (
            "transformer",
            lambda: original("vae"),
            "x.safetensors of transformer holds the weights of a vae: write the file as parts.vae",
        ),
        (
            "vae",
            lambda: dict(state("text_encoder")),
            "x.safetensors of vae holds the weights of a text_encoder: write the file as parts.text_encoder",
        ),
        (
            "transformer",
            lambda: weight_files.original_vae(state("vae"), 1, residual=False, prefix="vae."),
            "x.safetensors of transformer holds no tensor of a transformer",
        ),
        (
            "text_encoder",
            lambda: original("text_encoder") | {"token_embedding.weight": torch.ones(64, 128)},
            f"shared.weight is 64x128 in x.safetensors of text_encoder, {BASE} 768x128",
        ),
        (
            "text_encoder",
            lambda: original("text_encoder") | {"decoder.final_layer_norm.weight": torch.ones(128)},
            "holds 'decoder.final_layer_norm.weight', which no umT5 encoder of its base's config.json has",
        ),
        (
            "vae",
            lambda: weight_files.original_vae(tiny.vae_of_2_2().state_dict(), 1, residual=True),
            f"encoder.conv_in.weight is 16x12x3x3x3 in x.safetensors of vae, {BASE} 16x3x3x3x3",
        ),
        (
            "vae",
            lambda: original("vae") | {"encoder.downsamples.0.downsamples.0.shortcut.bias": torch.ones(2)},
            "holds 'encoder.downsamples.0.downsamples.0.shortcut.bias', which no Wan VAE of its base's config.json has",
        ),
        (
            "vae",
            lambda: weight_files.original_vae(
                parts.vae(is_residual=False, in_channels=3, out_channels=3).state_dict(), 1, residual=False
            ),
            f"x.safetensors of vae has weights of 3 levels, {BASE} 4",
        ),
    ],
)
def test_a_file_of_another_model_is_told_with_both_numbers(
    tmp_path: Path,
    why: Callable[[str, Path], str],
    part: str,
    written: Callable[[], dict[str, torch.Tensor]],
    said: str,
) -> None:
    file = weight_files.write_safetensors(tmp_path / "x.safetensors", written())

    assert said in why(part, file)


@pytest.mark.parametrize(
    ("part", "arch", "needed"),
    [
        ("transformer", "flux", "wan"),
        ("transformer", "t5encoder", "wan"),
        ("text_encoder", "llama", "t5encoder or t5"),
        ("vae", "sd3", "wan"),
    ],
)
def test_gguf_of_another_architecture_is_named(
    tmp_path: Path, why: Callable[[str, Path], str], part: str, arch: str, needed: str
) -> None:
    file = weight_files.write_gguf(tmp_path / "x.gguf", {"a": torch.ones(2)}, arch)

    said = f"x.gguf of {part} is a GGUF file of the architecture '{arch}', {part} needs {needed}"
    assert why(part, file) == said


def test_a_base_with_numbers_beyond_all_sense_is_told_by_its_own_file(tmp_path: Path, base: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "m")
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_res_blocks": 10**5}))
    file = weight_files.write_safetensors(tmp_path / "vae.safetensors", original("vae"))

    with pytest.raises(FolderError) as refused:
        folders.parts.read_part(folder, "vae", ["diffusers", "AutoencoderKLWan"], file)
    assert refused.value.path == config
    assert refused.value.reason.startswith("num_res_blocks of vae must be from 1 to 1000, got 100000")


def test_a_file_that_appears_and_goes_is_noticed(tmp_path: Path, base: Path, whole: dict[str, Path]) -> None:
    file = tmp_path / "x.gguf"
    files = {**whole, "transformer": file}
    assert folders.missing(base, files) == "x.gguf of transformer is missing"
    weight_files.write_gguf(file, original("transformer"))
    assert folders.read(base, files)
    data = file.read_bytes()
    file.write_bytes(data[:-100])

    assert folders.missing(base, files) == (
        f"x.gguf of transformer is cut short: it has {len(data) - 100:,} of {len(data):,} bytes; fetch it again"
    )
