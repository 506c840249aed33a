"""Adapters on the fast path and on diffusers' own, against merged weights and peft."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import low_rank as lora
from support.driving import I2V, T2V, TI2V, KeepingPool, Reports, load, picture, run, spec, task, video
from support.likeness import require_same

from plugins import diffusers_backend as backend
from plugins.wan.generate.sample import pipeline
from plugins.wan.weights.quantised.codes import quantise
from plugins.wan.weights.quantised.layer import QuantisedLinear
from registry import Modality, PerExpert
from router import GenerationFailed, JobCancelled, LoadFailed

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_frames": 5, "steps": 2}
CASES = [(T2V, Modality.T2V, False), (I2V, Modality.I2V, True), (TI2V, Modality.TI2V, True)]


def small(image: bool = False, **changes: Any) -> Any:
    pixels = {"image": picture(0, 32, 32)} if image else {}
    return task(**SMALL | pixels | changes)


def frames(model: Any, loaded: Any, asked: Any) -> Any:
    return video(run(model, loaded, asked))


def merged(model: Any, found: lora.Pairs, strength: float = 1.0) -> Any:
    """Return the loaded model with the products in its weights."""
    loaded = load(model, KeepingPool())
    for name in {"transformer", "transformer_2"} & loaded.parts.keys():
        lora.merge(loaded.parts[name], found, strength)
    return loaded


@pytest.mark.parametrize("fast", [True, False, {"packed_qkv": False, "merged_padding": False}], ids=str)
@pytest.mark.parametrize(("name", "modality", "image"), CASES)
def test_an_adapter_gives_the_video_of_merged_weights(
    family: Path, tmp_path: Path, pool: Any, name: str, modality: Modality, image: bool, fast: Any
) -> None:
    model, asked = spec(family / name, modality, {"fast": fast}), small(image)
    loaded = load(model, pool)
    before = frames(model, loaded, asked)
    found = lora.pairs(loaded.parts["transformer"])
    having = lora.having(model, lora.adapter(lora.write(tmp_path / "style.safetensors", lora.comfy(found))))

    made = frames(having, loaded, replace(asked, adapters=lora.use("style", strength=0.5)))

    require_same(made, frames(model, merged(model, found, 0.5), asked))
    assert np.abs(made.astype(int) - before.astype(int)).max() > 3
    assert frames(having, loaded, asked).tobytes() == before.tobytes()


def test_no_request_changes_the_bytes_of_one_without_adapters(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    before = frames(model, loaded, small())
    files = [
        lora.write(tmp_path / f"{n}.safetensors", lora.diffusers(lora.pairs(loaded.parts["transformer"], n + 1, n)))
        for n in range(3)
    ]
    having = lora.having(model, *(lora.adapter(path, path.stem) for path in files))
    made = set()

    for number in range(50):
        names = [str(number % 3), *(["2"] if number % 4 == 0 and number % 3 < 2 else [])]
        asked = small(adapters=lora.use(*names, strength=0.1 * (number % 5)))
        if number % 5 == 2:
            with pytest.raises(JobCancelled):
                video(backend.generate(having, loaded, asked, Reports(stop=1 + number % 2)))
            continue
        made.add(frames(having, loaded, asked).tobytes())
        if number % 10 == 9:
            assert frames(having, loaded, small()).tobytes() == before.tobytes()

    assert len(made) > 10
    assert frames(having, loaded, small()).tobytes() == before.tobytes()


def test_strength_0_and_no_adapter_are_the_same_bytes(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    path = lora.write(tmp_path / "a.safetensors", lora.diffusers(lora.pairs(loaded.parts["transformer"])))
    having = lora.having(model, lora.adapter(path))

    assert frames(having, loaded, small(adapters=lora.use("style", strength=0))).tobytes() == (
        frames(model, loaded, small()).tobytes()
    )


def test_several_adapters_add_up(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    one, other = (lora.pairs(loaded.parts["transformer"], rank, rank) for rank in (3, 8))
    files = [lora.write(tmp_path / f"{name}.safetensors", lora.comfy(f)) for name, f in (("one", one), ("two", other))]
    having = lora.having(model, *(lora.adapter(path, path.stem) for path in files))
    both = merged(model, one)
    lora.merge(both.parts["transformer"], other)

    made = frames(having, loaded, small(adapters=lora.use("one", "two")))

    require_same(made, frames(model, both, small()))


def test_each_expert_has_its_own_file_and_strength(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    found = [lora.pairs(loaded.parts["transformer"], seed=seed) for seed in (1, 2)]
    high, low = (lora.write(tmp_path / f"{n}.safetensors", lora.comfy(each)) for n, each in enumerate(found))
    expected = load(model, KeepingPool())
    for name, each, strength in zip(("transformer", "transformer_2"), found, (0.7, 0.2), strict=True):
        lora.merge(expected.parts[name], each, strength)
    having = lora.having(model, lora.adapter(high, low=low))
    used = lora.use("style")[0]

    made = frames(having, loaded, small(adapters=(replace(used, high=0.7, low=0.2),)))

    require_same(made, frames(model, expected, small()))


def test_an_expert_without_a_file_stays_as_it_is(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    path = lora.write(tmp_path / "high.safetensors", lora.comfy(lora.pairs(loaded.parts["transformer"])))
    one = replace(lora.adapter(path), paths=PerExpert(path, None))
    asked = small(adapters=lora.use("style"))
    pipe = pipeline(loaded, asked)

    from plugins.wan.generate.adapters import adapters

    with adapters(lora.having(model, one), loaded, pipe, asked) as notes:
        assert pipe.transformer is not loaded.parts["transformer"]
        assert pipe.transformer_2 is loaded.parts["transformer_2"]
    assert notes == ()


def test_biases_norms_and_tables_count_on_both_paths(family: Path, tmp_path: Path) -> None:
    import torch

    made = []
    for fast in (True, False):
        model = spec(family / TI2V, Modality.TI2V, {"fast": fast})
        loaded = load(model, KeepingPool())
        shapes = {name: each.shape for name, each in loaded.parts["transformer"].named_parameters()}
        generator = torch.Generator().manual_seed(3)
        names = {
            "blocks.0.self_attn.q.diff_b": "blocks.0.attn1.to_q.bias",
            "blocks.0.norm3.diff": "blocks.0.norm2.weight",
            "blocks.1.diff_m": "blocks.1.scale_shift_table",
            "head.head.diff": "proj_out.weight",
            "patch_embedding.diff": "patch_embedding.weight",
        }
        tensors = {f"diffusion_model.{n}": 0.2 * torch.randn(shapes[w], generator=generator) for n, w in names.items()}
        tensors["diffusion_model.patch_embedding.lora_down.weight"] = torch.randn(2, 16, 1, 2, 2, generator=generator)
        tensors["diffusion_model.patch_embedding.lora_up.weight"] = torch.randn(128, 2, 1, 1, 1, generator=generator)
        having = lora.having(model, lora.adapter(lora.write(tmp_path / f"{fast}.safetensors", tensors)))
        expected = load(model, KeepingPool())
        for name, weight in names.items():
            expected.parts["transformer"].get_parameter(weight).data += tensors[f"diffusion_model.{name}"]
        product = torch.einsum("rithw,or->oithw", tensors["diffusion_model.patch_embedding.lora_down.weight"],
                               tensors["diffusion_model.patch_embedding.lora_up.weight"].flatten(1))  # fmt: skip
        expected.parts["transformer"].patch_embedding.weight.data += product

        made.append(frames(having, loaded, small(adapters=lora.use("style"))))

        require_same(made[-1], frames(model, expected, small()))
    require_same(*made)


@pytest.mark.parametrize("used", [{"style": 1.0}, {"style": 0.5}, {"style": 1.0, "two": 0.5}], ids=str)
def test_compiled_code_sees_the_same_types_at_each_strength(
    family: Path, tmp_path: Path, pool: Any, used: dict[str, float]
) -> None:
    import torch

    from plugins.wan.generate.adapters import adapters

    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    path = lora.write(tmp_path / "a.safetensors", lora.comfy(lora.pairs(loaded.parts["transformer"]), alpha=False))
    having = lora.having(model, *(lora.adapter(path, name) for name in ("style", "two")))
    asked = small(adapters=tuple(lora.use(name, strength=strength)[0] for name, strength in used.items()))
    pipe = pipeline(loaded, asked)

    with adapters(having, loaded, pipe, asked):
        layer = pipe.transformer.blocks[0].attn1.to_q
        assert (type(layer.down), type(layer.up)) == (torch.Tensor, torch.Tensor)
        assert type(layer.weight) is torch.nn.Parameter


def test_shared_weights_do_not_move_beside_changed_ones(family: Path, tmp_path: Path, pool: Any) -> None:
    import torch

    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    before = frames(model, loaded, small())
    own = loaded.parts["transformer"].blocks[0].attn1
    places = [each.weight.data_ptr() for each in (own.to_q, own.to_k, own.to_v)]
    change = 0.2 * torch.randn(own.to_q.weight.shape, generator=torch.Generator().manual_seed(3))
    tensors = {"diffusion_model.blocks.0.self_attn.q.diff": change}
    having = lora.having(model, lora.adapter(lora.write(tmp_path / "a.safetensors", tensors)))
    expected = load(model, KeepingPool())
    expected.parts["transformer"].blocks[0].attn1.to_q.weight.data += change

    made = frames(having, loaded, small(adapters=lora.use("style")))

    assert [each.weight.data_ptr() for each in (own.to_q, own.to_k, own.to_v)] == places
    require_same(made, frames(model, expected, small()))
    assert frames(model, loaded, small()).tobytes() == before.tobytes()


def test_a_note_says_what_is_not_used(family: Path, tmp_path: Path, pool: Any) -> None:
    import torch

    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    tensors = lora.comfy(lora.pairs(loaded.parts["transformer"], only="to_q"))
    tensors["diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight"] = torch.ones(2, 128)
    having = lora.having(model, lora.adapter(lora.write(tmp_path / "a.safetensors", tensors)))

    (warning,) = run(having, loaded, small(adapters=lora.use("style"))).warnings

    assert warning.startswith("adapter style: 1 of the")


def test_a_file_that_was_replaced_is_read_again(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    path = tmp_path / "a.safetensors"
    having, asked = lora.having(model, lora.adapter(path)), small(adapters=lora.use("style"))
    made = []

    for seed in (1, 2, 1):
        path.unlink(missing_ok=True)
        lora.write(path, lora.comfy(lora.pairs(loaded.parts["transformer"], seed=seed)))
        made.append(frames(having, loaded, asked).tobytes())

    assert made[0] == made[2] != made[1]


def test_merged_weights_are_a_part_of_their_own(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    before = frames(model, loaded, small())
    found = lora.pairs(loaded.parts["transformer"])
    path = lora.write(tmp_path / "a.safetensors", lora.kohya(found))
    strength = PerExpert(0.5, 0.5)
    having = lora.having(model, lora.adapter(path, merge=True, strength=strength))
    count = len(pool.parts)

    other = load(having, pool)

    assert len(pool.parts) == count + 2  # the transformers; the encoder and the VAE are shared
    assert other.parts["text_encoder"] is loaded.parts["text_encoder"]
    require_same(frames(having, other, small()), frames(model, merged(model, found, 0.5), small()))
    assert frames(model, loaded, small()).tobytes() == before.tobytes()


def test_an_adapter_is_merged_before_the_weights_are_quantised(family: Path, tmp_path: Path, pool: Any) -> None:
    model, options = spec(family / T2V, Modality.T2V), {"weights": "int8"}
    found = lora.pairs(load(model, pool).parts["transformer"])
    path = lora.write(tmp_path / "a.safetensors", lora.kohya(found))
    having = lora.having(model, lora.adapter(path, merge=True, strength=PerExpert(0.5, 0.5)))
    whole = load(having, pool).parts["transformer"]

    quantised = load(replace(having, options={**having.options, **options}), pool).parts["transformer"]

    for name, layer in quantised.named_modules():
        if isinstance(layer, QuantisedLinear):
            codes, scale = quantise(whole.get_submodule(name).weight, "int8")
            assert ((layer.scale / scale - 1).abs() < 1e-5).all()
            assert (layer.codes.int() - codes.int()).abs().max() <= 1  # sums in another order


def test_side_products_run_on_weights_in_codes(family: Path, tmp_path: Path, pool: Any) -> None:
    options = {"weights": "int8"}
    model = spec(family / T2V, Modality.T2V, options)
    found = lora.pairs(load(spec(family / T2V, Modality.T2V), pool).parts["transformer"])
    path = lora.write(tmp_path / "a.safetensors", lora.kohya(found))
    having = lora.having(model, lora.adapter(path))
    loaded = load(having, pool)
    plain = frames(having, loaded, small())
    request = small(adapters=lora.use("style", strength=0.5))

    ours = frames(having, loaded, request)
    stock = frames(having, load(replace(having, options={**having.options, "fast": False}), pool), request)

    require_same(ours, stock)
    assert (ours.astype(int) - plain.astype(int)).any()
    assert frames(having, loaded, small()).tobytes() == plain.tobytes()


@pytest.mark.parametrize("options", [{"group_offload": True}, {"fast": False, "group_offload": True}], ids=str)
def test_a_transformer_with_hooks_refuses_adapters(family: Path, tmp_path: Path, pool: Any, options: Any) -> None:
    model = spec(family / TI2V, Modality.TI2V, options)
    loaded = load(model, pool)
    loaded.parts["transformer"].register_forward_pre_hook(lambda *_: None)
    path = lora.write(tmp_path / "a.safetensors", lora.comfy(lora.pairs(loaded.parts["transformer"])))

    with pytest.raises(GenerationFailed, match="the transformer takes no adapters here: something is hooked into it"):
        run(lora.having(model, lora.adapter(path)), loaded, small(adapters=lora.use("style")))


def test_a_file_that_is_gone_is_an_error_in_words(family: Path, tmp_path: Path, pool: Any) -> None:
    model = spec(family / TI2V, Modality.TI2V)
    loaded, asked = load(model, pool), small(adapters=lora.use("style"))

    with pytest.raises(LoadFailed, match="the file of the adapter style cannot be read"):
        run(lora.having(model, lora.adapter(tmp_path / "a.safetensors")), loaded, asked)
    nowhere = replace(lora.adapter(tmp_path / "a.safetensors"), paths=PerExpert(None, None))
    with pytest.raises(LoadFailed, match="the adapter style has no file on this machine"):
        run(lora.having(model, nowhere), loaded, asked)
