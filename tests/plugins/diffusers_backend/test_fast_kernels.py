"""Our kernels: arithmetic by Triton's interpreter, code for GPUs, and blocks by them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugins.wan.tuning.switches import Switches

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from bench.card import kernels  # noqa: E402
from plugins.diffusers_backend.kernels import operations  # noqa: E402


def random(seed: int, *shape: int, dtype: Any = torch.float32) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def off(got: Any, expected: Any) -> float:
    assert got.dtype is expected.dtype
    assert got.shape == expected.shape
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def test_the_kernels_give_what_pytorch_gives() -> None:
    errors = kernels.interpreted()

    assert errors.keys() == {"norm_and_rope", "add_and_norm", "norm", "pad"}
    assert not any(errors["pad"].values())  # it only moves bits
    for kernel, found in errors.items():
        assert found.keys() == kernels.ROUNDING.keys()
        for dtype, error in found.items():
            assert error < kernels.ROUNDING[dtype], f"{kernel} in {dtype}"


def test_operations_keep_the_rules_of_pytorchs_custom_ones() -> None:
    x, y = random(1, 1, 2, 3, 8), random(2, 2, 2, 3, 8)
    gate, weight, bias = random(3, 3, 2, 1, 8)
    angles = random(4, 1, 3, 1, 2)
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    for operation, given in (
        (operations.norm_and_rope, (x[0, :1], weight[0, 0], angles.cos(), angles.sin(), 2, 1e-6)),
        (operations.norm, (x, weight, bias, 1e-6)),
        (operations.add, (y, x.expand_as(y).contiguous(), gate)),
        (operations.add_and_norm, (x.expand_as(y), y, gate, weight, bias, 1e-6)),
        (operations.add_and_norm, (x, y, None, weight, bias, 1e-6)),
    ):
        assert set(torch.library.opcheck(operation, given, test_utils=tests).values()) == {"SUCCESS"}


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("width", [1536, 5120])
def test_the_kernels_compile_for_gpus_that_are_not_here(
    capability: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    made = kernels.compiled(capability, width)

    assert len(made) == 4
    assert all(made.values())


@pytest.fixture
def chooser() -> Any:
    """Return a chooser with an autotuner, so that our kernels run."""
    from plugins.diffusers_backend.tuning.chooser import Chooser
    from plugins.wan.tuning.autotune import Autotuner

    return Chooser(tuner=Autotuner(lambda _: 1.0))


@pytest.mark.parametrize(
    ("groups", "compiled", "cross_attn_norm"),
    [(1, False, True), (5, False, True), (80, False, True), (5, False, False), (1, True, True), (80, True, True)],
)
def test_blocks_that_run_by_them_give_the_same(
    chooser: Any, groups: int, compiled: bool, cross_attn_norm: bool
) -> None:
    """On a CPU each is PyTorch's code in an opaque custom operation."""
    from nano import parts
    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps

    model = parts.seeded(3, lambda: parts.transformer(num_layers=2, cross_attn_norm=cross_attn_norm))
    latents, embeds, times = random(1, 1, 16, 5, 8, 8), random(2, 2, 512, 128), 500 * torch.ones(groups)
    plain = Network(model, Switches(), None).prepare(latents, embeds, groups)
    ours = Network(model, Switches(), None, chooser).prepare(latents, embeds, groups)
    if compiled:
        ours = replace(ours, blocks=torch.compile(ours.blocks, dynamic=False, fullgraph=True))

    assert (ours.kernels.rope_kernel, ours.kernels.norm_kernel) == (True, True)
    with torch.no_grad():
        moment = embed_timesteps(model, times)
        assert off(ours(latents, moment), plain(latents, moment)) < 1e-5


def test_they_are_off_where_they_are_switched_off_and_where_nothing_measures(chooser: Any) -> None:
    from nano import parts
    from plugins.diffusers_backend.dit.network import Network

    model = parts.seeded(3, parts.transformer)
    latents, embeds = random(1, 1, 16, 5, 8, 8), random(2, 1, 512, 128)
    for switches, made in (
        (Switches(rope_kernel=False, norm_kernel=False), chooser),
        (Switches(), type(chooser)()),
    ):
        kernels = Network(model, switches, None, made).prepare(latents, embeds, 1).kernels
        assert (kernels.rope_kernel, kernels.norm_kernel) == (False, False)
