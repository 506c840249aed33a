"""Weights in codes together with adapters, fused layers, compiled blocks and converted folders."""

from dataclasses import replace
from typing import Any

import pytest

from plugins.wan.tuning.switches import OFF, Switches

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")


from nano import parts  # noqa: E402
from plugins.diffusers_backend.dit.adapted import with_adapters  # noqa: E402
from plugins.diffusers_backend.dit.fuse_qkv import fuse_qkv  # noqa: E402
from plugins.wan.weights.device_format import FP8, INT8  # noqa: E402
from plugins.wan.weights.quantised.codes import Codes, dense, quantise  # noqa: E402
from plugins.wan.weights.quantised.layer import QuantisedLinear, quantise_layers, weight_of  # noqa: E402

BLOCK_LINEARS = (
    "attn1.to_q",
    "attn1.to_k",
    "attn1.to_v",
    "attn1.to_out.0",
    "attn2.to_q",
    "ffn.net.0.proj",
    "ffn.net.2",
)


def quantised(model: Any, form: str, only: tuple[str, ...] = BLOCK_LINEARS) -> Any:
    """Give block linears of `model` codes of their weights."""
    for number, block in enumerate(model.blocks):
        for layer in only:
            plain = block.get_submodule(layer)
            codes, scale = quantise(plain.weight.data, form)
            name = f"blocks.{number}.{layer}.weight"
            quantise_layers(model, {name: (form, plain.weight.dtype)})
            made = model.get_submodule(name.removesuffix(".weight"))
            made.codes, made.scale = (torch.nn.Parameter(each, requires_grad=False) for each in (codes, scale))
    return model


def dense_twin(model: Any) -> Any:
    """Return a transformer of plain numbers: those that the codes of `model` stand for."""
    twin = parts.seeded(3, parts.transformer)
    plain = dict(twin.named_modules())
    for name, layer in model.named_modules():
        if isinstance(layer, QuantisedLinear):
            plain[name].weight.data = dense(weight_of(layer), layer.dtype)
    return twin


@pytest.fixture
def model() -> Any:
    return parts.seeded(3, parts.transformer)


def ours(model: Any, switches: Switches) -> Any:
    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps

    generator = torch.Generator().manual_seed(1)
    latents, text = (torch.randn(shape, generator=generator) for shape in ((1, 16, 3, 4, 4), (2, 512, 128)))
    with torch.no_grad():
        run = Network(model, switches, None).prepare(latents, text, 1)
        return run(latents, embed_timesteps(model, torch.tensor([500.0])))


def off(got: Any, expected: Any) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("form", [FP8, INT8])
@pytest.mark.parametrize("packed", [True, False])
def test_our_forward_pass_takes_codes_fused_or_not(model: Any, form: str, packed: bool) -> None:
    quantised(model, form)
    switches = replace(OFF, transformer=True, packed_qkv=packed)

    assert off(ours(model, switches), ours(dense_twin(model), switches)) < 1e-5


def test_fused_codes_are_views_of_one_tensor_and_each_layer_still_runs(model: Any) -> None:
    own = quantised(model, FP8).blocks[0].attn1
    before = own.to_k(torch.ones(1, 128))

    weight, _ = fuse_qkv(own.to_q, own.to_k, own.to_v)
    again, _ = fuse_qkv(own.to_q, own.to_k, own.to_v)

    assert isinstance(weight, Codes)
    assert isinstance(again, Codes)
    assert weight.shape == (384, 128)
    assert weight.codes.data_ptr() == own.to_q.codes.data_ptr() == again.codes.data_ptr()
    assert torch.equal(own.to_k(torch.ones(1, 128)), before)


def test_layers_of_different_formats_are_not_fused(model: Any) -> None:
    quantised(model, FP8, ("attn1.to_q", "attn1.to_k"))
    quantised(model, INT8, ("attn1.to_v",))
    switches = replace(OFF, transformer=True, packed_qkv=True)

    assert off(ours(model, switches), ours(dense_twin(model), switches)) < 1e-5


class Weights:
    """Adapters' changes that a test has made up."""

    def __init__(self, deltas: dict[str, Any]) -> None:
        self._deltas = deltas
        names = {name.rpartition(".")[0] for name in deltas}
        self.tree = frozenset({above for name in names for above in _above(name)})

    def deltas(self, strength: float) -> dict[str, Any]:
        return self._deltas


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return ["", *(".".join(parts[: count + 1]) for count in range(len(parts)))]


@pytest.mark.parametrize("added", [False, True])
def test_adapters_change_layers_in_codes(model: Any, added: bool) -> None:
    from plugins.wan.weights.adapters.weights import Delta, Product

    quantised(model, INT8)
    generator = torch.Generator().manual_seed(2)
    down, up = (torch.randn(shape, generator=generator) / 8 for shape in ((4, 128), (128, 4)))
    names = ("blocks.0.attn1.to_q.weight", "blocks.1.attn2.to_out.0.weight")
    deltas = {name: Delta((Product(down, up),), (up @ down,) if added else ()) for name in names}
    expected = dense_twin(model)
    for name in names:
        weight = expected.get_parameter(name)
        weight.data = deltas[name].merged(weight.data)
    switches = replace(OFF, transformer=True, packed_qkv=True)
    plain = ours(model, switches)

    adapted = ours(with_adapters(model, [(Weights(deltas), 1.0)]), switches)

    assert off(adapted, ours(expected, switches)) < 1e-5
    assert off(adapted, plain) > 1e-3
    assert torch.equal(ours(model, switches), plain)


def test_blocks_in_codes_are_compiled() -> None:
    from plugins.diffusers_backend.compile import Compiler
    from plugins.diffusers_backend.dit.block import run_blocks
    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps

    model = quantised(parts.seeded(3, lambda: parts.transformer(num_layers=1)), FP8)
    compiler = Compiler(run_blocks)
    network = Network(model, replace(Switches(), merged_padding=False), compiler)
    latents, text = torch.ones(1, 16, 3, 4, 4), torch.ones(1, 512, 128)
    embedding = embed_timesteps(model, torch.tensor([500.0]))
    with torch.no_grad():
        first = network.prepare(latents, text, 1)
        eager = first(latents, embedding)
        network.compile_later(first, latents, embedding)
        compiler.wait()
        again = network.prepare(latents, text, 1)

        assert again.key in compiler.ready
        assert off(again(latents, embedding), eager) < 1e-5
