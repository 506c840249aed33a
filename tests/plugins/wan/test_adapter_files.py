"""Files of adapters: every trainer's spelling, and what is refused."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import low_rank as lora
from support.driving import T2V, KeepingPool

from plugins.wan import checkpoint
from plugins.wan.weights.adapters import file
from plugins.wan.weights.adapters.merge import MergedAdapters
from plugins.wan.weights.adapters.weights import AdapterPart, Delta
from plugins.wan.weights.placement import Placement
from router import LoadFailed

PLACEMENT = Placement("cpu", torch.float32, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def part(family: Path) -> Any:
    return checkpoint.read(family / T2V).parts["transformer"]


@pytest.fixture(scope="module")
def model(family: Path) -> Any:
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        return WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(family / T2V / "transformer"))


def deltas(path: Path, part: Any, strength: float = 1.0) -> dict[str, Delta]:
    return AdapterPart.of(path, "style", part, PLACEMENT).read(lambda _: None).deltas(strength)


def products(found: dict[str, Delta]) -> dict[str, torch.Tensor]:
    return {name: delta.merged(torch.zeros(len(delta.products[0].up), delta.products[0].down.shape[1]))
            for name, delta in found.items() if delta.products}  # fmt: skip


SPELLINGS = {
    "diffusers": lora.diffusers,
    "diffusers without a prefix": lambda found: lora.diffusers(found, ""),
    "peft": lambda found: lora.diffusers(found, "base_model.model."),
    "peft of a whole pipeline": lambda found: lora.diffusers(found, "base_model.model.transformer."),
    "ComfyUI with alpha": lora.comfy,
    "ComfyUI without": lambda found: lora.comfy(found, alpha=False),
    "ComfyUI in peft's words": lambda found: lora.comfy(found, alpha=False, peft=True),
    "Wan's own names": lambda found: lora.comfy(found, ""),
    "kohya and musubi": lora.kohya,
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("only", ["", "attn1", "blocks.1.ffn"])
def test_each_trainers_spelling_is_the_same_adapter(
    model: Any, part: Any, tmp_path: Path, spelling: Any, only: str
) -> None:
    found = lora.pairs(model, only=only)

    read = file.read(lora.write(tmp_path / "style.safetensors", spelling(found)), part, "style")
    made = products(deltas(tmp_path / "style.safetensors", part))

    assert read.unused == ()
    assert made.keys() == {f"{name}.weight" for name in found}
    for name, (down, up) in found.items():
        assert torch.allclose(made[f"{name}.weight"], up @ down, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_each_number_format_is_read(model: Any, part: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    found = lora.pairs(model, only="attn1.to_q")
    path = lora.write(tmp_path / "style.safetensors", lora.comfy(found), dtype)

    for name, product in products(deltas(path, part)).items():
        down, up = found[name.removesuffix(".weight")]
        assert torch.allclose(product, (2 * up).to(dtype).float() / 2 @ down.to(dtype).float(), atol=1e-5)


def test_biases_norms_and_tables_are_changed_too(model: Any, part: Any, tmp_path: Path) -> None:
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    changed = {
        "blocks.0.self_attn.q.diff_b": "blocks.0.attn1.to_q.bias",
        "blocks.0.norm3.diff": "blocks.0.norm2.weight",
        "blocks.0.norm3.diff_b": "blocks.0.norm2.bias",
        "blocks.1.cross_attn.norm_k.diff": "blocks.1.attn2.norm_k.weight",
        "blocks.1.diff_m": "blocks.1.scale_shift_table",
        "head.head.diff": "proj_out.weight",
        "head.diff_m": "scale_shift_table",
        "time_projection.1.diff_b": "condition_embedder.time_proj.bias",
        "patch_embedding.diff_b": "patch_embedding.bias",
    }
    tensors = {f"diffusion_model.{name}": torch.randn(shapes[weight]) for name, weight in changed.items()}

    found = deltas(lora.write(tmp_path / "style.safetensors", tensors), part, strength=0.5)

    assert found.keys() == set(changed.values())
    for name, weight in changed.items():
        assert torch.allclose(found[weight].merged(torch.zeros(shapes[weight])), tensors[f"diffusion_model.{name}"] / 2)


def test_a_bias_beside_the_product_has_its_factor(part: Any, model: Any, tmp_path: Path) -> None:
    found = lora.pairs(model, only="blocks.0.attn1.to_q")
    tensors = lora.diffusers(found) | {"transformer.blocks.0.attn1.to_q.alpha": torch.tensor(1.0)}
    bias = torch.randn(len(found["blocks.0.attn1.to_q"][1]))
    tensors["transformer.blocks.0.attn1.to_q.lora_B.bias"] = bias
    rank = len(found["blocks.0.attn1.to_q"][0])

    made = deltas(lora.write(tmp_path / "style.safetensors", tensors), part)

    assert torch.allclose(made["blocks.0.attn1.to_q.bias"].added[0], bias / rank)


@pytest.mark.parametrize(("stabilized", "factor"), [(False, 2.0), (True, 4.0)])
def test_alpha_beside_the_tensors_counts(
    model: Any, part: Any, tmp_path: Path, stabilized: bool, factor: float
) -> None:
    found = {name: (down[:4], up[:, :4]) for name, (down, up) in lora.pairs(model, only="attn1.to_q").items()}
    config = {
        "r": 4,
        "lora_alpha": 8,
        "use_rslora": stabilized,
        "init_lora_weights": True,
        "alpha_pattern": {"1.attn1.to_q": 0},
    }
    ours = json.dumps({f"transformer.{key}": value for key, value in config.items()})
    of_diffusers = lora.write(tmp_path / "one.safetensors", lora.diffusers(found), lora_adapter_metadata=ours)
    of_peft = lora.write(tmp_path / "peft" / "adapter_model.safetensors", lora.diffusers(found, "base_model.model."))
    of_peft.with_name("adapter_config.json").write_text(json.dumps(config))

    for path in (of_diffusers, of_peft):
        made = products(deltas(path, part))
        down, up = found["blocks.0.attn1.to_q"]
        assert torch.allclose(made["blocks.0.attn1.to_q.weight"], factor * up @ down, atol=1e-6)
        assert not made["blocks.1.attn1.to_q.weight"].any()


@pytest.mark.parametrize("key", ["blocks.0.self_attn.q", "blocks.0.attn1.to_q", "^blocks\\.0\\.self_attn\\.q$", "q"])
def test_a_pattern_of_alpha_names_layers_as_the_file_does_or_diffusers(
    model: Any, part: Any, tmp_path: Path, key: str
) -> None:
    found = {name: (down[:4], up[:, :4]) for name, (down, up) in lora.pairs(model, only="blocks.0.attn1.to_q").items()}
    config = json.dumps({"transformer.lora_alpha": 4, "transformer.alpha_pattern": {"self_attn": 2, key: 16}})
    tensors = lora.comfy(found, alpha=False, peft=True)

    made = products(deltas(lora.write(tmp_path / "a.safetensors", tensors, lora_adapter_metadata=config), part))

    down, up = found["blocks.0.attn1.to_q"]
    assert torch.allclose(made["blocks.0.attn1.to_q.weight"], 4 * up @ down, atol=1e-6)


@pytest.mark.parametrize("spelling", [lora.diffusers, lambda found: lora.comfy(found, alpha=False)])
def test_the_factors_of_a_neighbour_in_the_folder_do_not_count(
    model: Any, part: Any, tmp_path: Path, spelling: Any
) -> None:
    found = lora.pairs(model, only="blocks.0.attn1.to_q")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 64}))

    made = products(deltas(lora.write(tmp_path / "style.safetensors", spelling(found)), part))

    down, up = found["blocks.0.attn1.to_q"]
    assert torch.allclose(made["blocks.0.attn1.to_q.weight"], up @ down, atol=1e-6)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ('{"transformer.lora_alpha": NaN}', "a number for lora_alpha, got nan"),
        ('{"transformer.lora_alpha": 1' + "0" * 400 + "}", "a number for lora_alpha, got 10"),
        ('{"transformer.alpha_pattern": {"to_q": "8"}}', "a number for to_q, got 8"),
        (
            '{"transformer.alpha_pattern": {"blocks.0.*": 8}}',
            "name layers in alpha_pattern, got the expression 'blocks",
        ),
        (
            '{"transformer.init_lora_weights": "pissa_niter_4"}',
            "for the model's own weights, got init_lora_weights pis",
        ),
        ("{", "must have a JSON object as its lora_adapter_metadata, got '{'"),
    ],
)
def test_factors_that_are_not_read_are_refused(
    model: Any, part: Any, tmp_path: Path, metadata: str, words: str
) -> None:
    tensors = lora.diffusers(lora.pairs(model, only="blocks.0.attn1.to_q"))
    path = lora.write(tmp_path / "style.safetensors", tensors, lora_adapter_metadata=metadata)

    with pytest.raises(LoadFailed) as refused:
        file.read(path, part, "style")
    assert words in str(refused.value)


@pytest.mark.parametrize("down", [torch.tensor(1.0), torch.zeros(0, 16, 1, 2, 2), torch.ones(2, 36, 1, 2, 2)])
def test_a_bias_without_its_product_is_not_used(model: Any, part: Any, tmp_path: Path, down: torch.Tensor) -> None:
    tensors = lora.comfy(lora.pairs(model, only="blocks.0.attn1.to_q"), alpha=False)
    tensors["diffusion_model.patch_embedding.lora_A.weight"] = down
    tensors["diffusion_model.patch_embedding.lora_B.weight"] = torch.ones(128, len(down) if down.dim() else 1)
    tensors["diffusion_model.patch_embedding.lora_B.bias"] = torch.ones(128)

    found = file.read(lora.write(tmp_path / "style.safetensors", tensors), part, "style")

    assert found.changes.keys() == {"blocks.0.attn1.to_q.weight"}
    assert len(found.unused) == 3


@pytest.mark.parametrize(
    ("number", "dtype", "words"),
    [
        (float("nan"), torch.float32, r"style\.safetensors of the adapter style must hold finite numbers, 1 of 4"),
        (float("-inf"), torch.bfloat16, "1 of 4 tensors do not$"),
        (1e6, torch.float16, "1 of 4 tensors do not, or too large for fp16"),
        (1e6, torch.bfloat16, None),
    ],
)
def test_numbers_that_are_not_finite_are_refused(
    model: Any, part: Any, tmp_path: Path, number: float, dtype: torch.dtype, words: str | None
) -> None:
    found = lora.pairs(model, only="blocks.0.attn1.to_")
    tensors = {name: tensor for name, tensor in lora.diffusers(found).items() if "to_q" in name or "to_k" in name}
    tensors["transformer.blocks.0.attn1.to_q.lora_A.weight"][1, 5] = number  # attention would make zeros of them
    path = lora.write(tmp_path / "style.safetensors", tensors)
    read = AdapterPart.of(path, "style", part, replace(PLACEMENT, dtype=dtype)).read

    if words is None:
        assert read(lambda _: None).deltas(1.0)
    else:
        with pytest.raises(LoadFailed, match=words):
            read(lambda _: None)


def test_a_file_that_changes_between_header_and_tensors_is_not_used(model: Any, part: Any, tmp_path: Path) -> None:
    path = lora.write(tmp_path / "style.safetensors", lora.diffusers(lora.pairs(model, only="to_q")))
    found = AdapterPart.of(path, "style", part, PLACEMENT)
    path.unlink()
    lora.write(path, lora.diffusers(lora.pairs(model, only="to_q", seed=1)))

    with pytest.raises(LoadFailed, match=r"style\.safetensors of the adapter style changed while it was read"):
        found.read(lambda _: None)
    assert deltas(path, part)


def test_what_is_not_used_is_counted(model: Any, part: Any, tmp_path: Path) -> None:
    tensors = lora.comfy(lora.pairs(model, only="attn1.to_q"))
    tensors |= {"diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight": torch.ones(2, 2)}
    tensors |= {"diffusion_model.blocks.99.ffn.0.lora_up.weight": torch.ones(2, 2), "text_encoder.x": torch.ones(1)}
    tensors |= {"diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.ones(2, 2)}

    found = file.read(lora.write(tmp_path / "style.safetensors", tensors), part, "style")

    assert len(found.unused) == 4
    assert f"4 of the {len(tensors)} tensors in style.safetensors are not used" in found.note


def test_a_name_of_megabytes_takes_no_time(model: Any, part: Any, tmp_path: Path) -> None:
    name = "model." * 1_000_000 + "blocks.0.attn1.to_k.lora_A.weight"
    tensors = lora.diffusers(lora.pairs(model, only="blocks.0.attn1.to_q")) | {name: torch.ones(1)}
    path, begin = lora.write(tmp_path / "style.safetensors", tensors), time.process_time()

    found = file.read(path, part, "style")

    assert time.process_time() - begin < 10
    assert found.unused == (name,)
    assert len(found.note) < 300


def test_patches_of_another_number_of_channels_are_left_out(model: Any, part: Any, tmp_path: Path) -> None:
    tensors = lora.comfy(lora.pairs(model, only="attn1.to_q"))
    tensors["diffusion_model.patch_embedding.lora_down.weight"] = torch.ones(2, 36, 1, 2, 2)
    tensors["diffusion_model.patch_embedding.lora_up.weight"] = torch.ones(128, 2, 1, 1, 1)

    assert len(file.read(lora.write(tmp_path / "style.safetensors", tensors), part, "style").unused) == 2


def wide(model: Any) -> Any:
    return {name: (torch.ones(2, 5120), torch.ones(5120, 2)) for name in lora.pairs(model, only="to_q")}


BAD = {
    "for another model": lambda model: lora.comfy(wide(model)),
    "none of its": lambda model: {"lora_te1_text_model.q.lora_down.weight": torch.ones(2, 2)},
    "is a DoRA": lambda model: (
        lora.comfy(lora.pairs(model, only="to_q"))
        | {"diffusion_model.blocks.0.self_attn.q.dora_scale": torch.ones(128)}
    ),
    "two tensors for one place": lambda model: (
        lora.comfy(lora.pairs(model, only="blocks.0.attn1.to_q"))
        | lora.diffusers(lora.pairs(model, only="blocks.0.attn1.to_q", seed=1))
    ),
    "one number": lambda model: (
        lora.diffusers(lora.pairs(model, only="to_q"))
        | {f"transformer.{name}.alpha": torch.tensor(float("nan")) for name in lora.pairs(model, only="to_q")}
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_another_adapter_is_refused_in_words(model: Any, part: Any, tmp_path: Path, words: str) -> None:
    path = lora.write(tmp_path / "style.safetensors", BAD[words](model))

    with pytest.raises(LoadFailed, match=words) as refused:
        file.read(path, part, "style")
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"PK\x03\x04" + b"0" * 600, "pickles"), (b"", "empty"), (b"GGUF" * 9, "GGUF"), (b"\x10" + b"\0" * 99, "none")],
)
def test_another_kind_of_file_is_refused_in_words(part: Any, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(content)

    with pytest.raises(LoadFailed, match=words):
        file.read(path, part, "style")


def test_two_files_of_one_content_are_one_part(model: Any, part: Any, tmp_path: Path) -> None:
    found, pool = lora.pairs(model, only="to_q"), KeepingPool()
    paths = [lora.write(tmp_path / name, lora.diffusers(found)) for name in ("a.safetensors", "b.safetensors")]
    other = lora.write(tmp_path / "c.safetensors", lora.diffusers(lora.pairs(model, only="to_k")))

    keys = [AdapterPart.of(path, "style", part, PLACEMENT).key(pool) for path in (*paths, other)]

    assert keys[0] == keys[1] != keys[2]


def test_merged_weights_of_other_factors_are_other_parts(model: Any, part: Any, tmp_path: Path) -> None:
    found, keys = lora.pairs(model, only="to_q"), []
    for alpha in (4, 8, 4):
        path = lora.write(
            tmp_path / str(len(keys)) / "adapter_model.safetensors", lora.diffusers(found, "base_model.model.")
        )
        path.with_name("adapter_config.json").write_text(json.dumps({"lora_alpha": alpha}))
        keys.append(MergedAdapters.of((lora.adapter(path, merge=True),)).key(part, KeepingPool()))

    assert keys[0] == keys[2] != keys[1]


def test_what_is_not_used_of_a_merged_adapter_is_in_the_log(
    model: Any, part: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = lora.diffusers(lora.pairs(model, only="blocks.0.attn1.to_q")) | {"text_encoder.x": torch.ones(1)}
    path = lora.write(tmp_path / "style.safetensors", tensors)

    assert MergedAdapters.of((lora.adapter(path, merge=True),)).deltas(part, PLACEMENT)

    assert "adapter style: 1 of the 3 tensors in style.safetensors are not used: text_encoder.x" in caplog.text
