"""The numbers of a forward pass with adapters, against peft's and exact ones."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from support import low_rank as lora
from support.driving import T2V

from plugins.diffusers_backend.dit.adapted import with_adapters
from plugins.diffusers_backend.dit.block import kind_of, weights_of
from plugins.diffusers_backend.dit.linear import linear
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.wan import checkpoint
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights.adapters.weights import AdapterPart
from plugins.wan.weights.placement import Placement

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def part(family: Path) -> Any:
    return checkpoint.read(family / T2V).parts["transformer"]


def transformer(part: Any, dtype: torch.dtype = torch.float32) -> Any:
    return Placement("cpu", dtype, Switches()).read(part, lambda _: None).requires_grad_(False)


def adapter(part: Any, path: Path, dtype: torch.dtype = torch.float32) -> Any:
    return AdapterPart.of(path, "style", part, Placement("cpu", dtype, Switches())).read(lambda _: None)


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        "hidden_states": torch.randn(1, 16, 3, 8, 8, generator=generator),
        "timestep": torch.tensor([700.0]),
        "encoder_hidden_states": torch.randn(1, 512, 128, generator=generator),
    }


def by_fast_path(model: Any) -> torch.Tensor:
    given = inputs()
    latents, embeds = (
        given[name].to(model.proj_out.weight.dtype) for name in ("hidden_states", "encoder_hidden_states")
    )
    network = Network(model, Switches(), None)
    return network.prepare(latents, embeds, 1)(latents, embed_timesteps(model, given["timestep"]))


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@torch.no_grad()
def test_both_paths_are_within_1e_5_of_pefts_modules(part: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = transformer(part)
    found = lora.pairs(model, only="blocks.")
    used = adapter(part, lora.write(tmp_path / "a.safetensors", lora.comfy(found)))
    base, reference = model(**inputs(), return_dict=False)[0], copy.deepcopy(model)
    ranks = {name: len(down) for name, (down, _) in found.items()}
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=list(found), rank_pattern=ranks, alpha_pattern=ranks)
    peft.inject_adapter_in_model(config, reference, "style")
    for name, (down, up) in found.items():
        layer = reference.get_submodule(name)
        layer.lora_A["style"].weight.data, layer.lora_B["style"].weight.data = down.clone(), up.clone()
    expected = reference(**inputs(), return_dict=False)[0]

    adapted = with_adapters(model, [(used, 1.0)])

    assert off(base, expected) > 0.05
    assert off(by_fast_path(adapted), expected) < 1e-5
    assert off(adapted(**inputs(), return_dict=False)[0], expected) < 1e-5
    assert torch.equal(model(**inputs(), return_dict=False)[0], base)


@torch.no_grad()
def test_in_bf16_side_products_are_no_further_from_exact_than_merged_weights(part: Any, tmp_path: Path) -> None:
    exact = transformer(part, torch.bfloat16).float()  # the same weights, computed exactly
    found = lora.pairs(exact, only="blocks.", scale=0.15)
    path = lora.write(tmp_path / "a.safetensors", lora.comfy(found), torch.bfloat16)
    bf16 = transformer(part, torch.bfloat16)
    beside = by_fast_path(with_adapters(bf16, [(adapter(part, path, torch.bfloat16), 1.0)]))
    rounded = {name: (down.bfloat16().float(), (2 * up).bfloat16().float() / 2) for name, (down, up) in found.items()}
    lora.merge(exact, rounded)
    merged = copy.deepcopy(bf16)
    for name, parameter in merged.named_parameters():
        parameter.data = exact.get_parameter(name).to(parameter.dtype)

    expected = by_fast_path(exact)

    assert off(beside, expected) <= off(by_fast_path(merged), expected)
    assert off(by_fast_path(bf16), expected) > 5 * off(beside, expected)


def test_one_layer_in_bf16_rounds_its_sum_once() -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = (torch.randn(64, 256, generator=generator).bfloat16() for _ in range(2))
    weight, bias = torch.randn(256, 256, generator=generator).bfloat16(), torch.zeros(256).bfloat16()
    down = (torch.randn(16, 256, generator=generator) / 16).bfloat16()
    up = (torch.randn(256, 16, generator=generator) / 4).bfloat16()
    exact = x.double() @ (weight.double() + up.double() @ down.double()).T
    merged = (weight.float() + up.float() @ down.float()).bfloat16()

    assert off(linear(x, weight, bias, down, up), exact) < off(linear(x, merged, bias), exact)


@torch.no_grad()
def test_ranks_are_in_the_key_of_compiled_blocks(part: Any, tmp_path: Path) -> None:
    model = transformer(part)
    kinds = []
    for rank in (None, 4, 8):
        adapted = model
        if rank is not None:
            path = lora.write(tmp_path / f"{rank}.safetensors", lora.comfy(lora.pairs(model, rank)))
            adapted = with_adapters(model, [(adapter(part, path), 1.0)])
        kinds.append(kind_of([weights_of(block, fuse=True) for block in adapted.blocks]))

    assert len(set(kinds)) == 3


@torch.no_grad()
def test_adapters_share_all_weights_of_the_model(part: Any, tmp_path: Path) -> None:
    model = transformer(part)
    found = lora.pairs(model)
    adapted = with_adapters(model, [(adapter(part, lora.write(tmp_path / "a.safetensors", lora.comfy(found))), 1.0)])

    own = {each.data_ptr() for each in model.parameters()}
    extra = [each for name, each in adapted.named_parameters() if each.data_ptr() not in own]
    assert {tuple(each.shape) for each in extra} <= {tuple(t.shape) for pair in found.values() for t in pair}
