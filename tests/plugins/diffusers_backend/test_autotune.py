"""Kernels chosen by measurement: the autotuner with a fake clock, and its candidates."""

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support.driving import T2V, load, run, spec, task, video
from support.likeness import require_same

from plugins.wan.tuning.switches import OFF
from registry import Modality
from router import LoadFailed

pytestmark = pytest.mark.slow

FLASH_4 = """
import torch

def flash_attn_func(q, k, v):
    swapped = (each.transpose(1, 2) for each in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(*swapped).transpose(1, 2).contiguous(), None
"""
TILED = """
from flash_attn.cute import flash_attn_func

def _flash_attn_fwd(q, k, v, tile_mn=None):
    assert tile_mn == (128, 176)
    return *flash_attn_func(q, k, v), None, None, None
"""


@pytest.fixture
def flash_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """FlashAttention 4 by its package's interface, with arithmetic that a CPU can do."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    (tmp_path / "flash_attn" / "cute" / "__init__.py").write_text(FLASH_4)
    (tmp_path / "flash_attn" / "cute" / "interface.py").write_text(TILED)
    (tmp_path / "flash_attn_4-4.0.0.dist-info").mkdir()
    (tmp_path / "flash_attn_4-4.0.0.dist-info" / "METADATA").write_text("Name: flash-attn-4\nVersion: 4.0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("flash_attn", "flash_attn.cute", "flash_attn.cute.interface"):
        sys.modules.pop(name, None)


def tuner(seconds: dict[str, float]) -> Any:
    """Return an autotuner with the times of `seconds` by candidate."""
    from plugins.wan.tuning.autotune import Autotuner

    def clock(way: Callable[[], Any]) -> float:
        way()
        return seconds[way.__name__]

    return Autotuner(clock)


def ways(**values: object) -> dict[str, Callable[[], Any]]:
    """Ways by their names that give these numbers, or raise these errors."""
    import torch

    def way(name: str, value: object) -> Callable[[], Any]:
        def give() -> Any:
            if isinstance(value, Exception):
                raise value
            return torch.full((4,), value)

        give.__name__ = name
        return give

    return {name: way(name, value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"first": 1.0, "other": 0.5, "third": 0.7}, "other"),
        ({"first": 1.0, "other": 0.98, "third": 1.2}, "first"),
        ({"first": 1.0, "other": 2.0, "third": 3.0}, "first"),
    ],
)
def test_the_first_way_stays_unless_another_is_clearly_faster(seconds: dict[str, float], chosen: str) -> None:
    assert tuner(seconds).fastest("case", lambda: ways(first=1.0, other=1.001, third=1.0)) == chosen


def test_a_way_that_fails_or_gives_other_numbers_is_out(caplog: pytest.LogCaptureFixture) -> None:
    fast = dict.fromkeys(("broken", "wrong", "nan"), 0.1) | {"first": 1.0, "right": 0.9}
    given = ways(first=1.0, broken=RuntimeError("no kernel\nadvice"), wrong=1.1, nan=float("nan"), right=1.0)

    with caplog.at_level(logging.INFO):
        assert tuner(fast).fastest("case", lambda: given) == "right"

    assert "case: not by broken, trying it gave RuntimeError: no kernel" in caplog.text
    assert "case: not by wrong, its numbers are 0.1 off" in caplog.text
    assert "case: first 1e+03 ms, right 900 ms; takes right" in caplog.text
    assert "advice" not in caplog.text


def test_a_case_is_measured_once() -> None:
    kept = tuner({"first": 1.0, "other": 0.5})

    assert kept.fastest("case", lambda: ways(first=1.0, other=1.0)) == "other"
    assert kept.fastest("case", dict) == "other"


@pytest.mark.parametrize(("second", "agrees"), [(1.0, True), (1.1, False), (RuntimeError("no compiler"), False)])
def test_whether_a_way_works_needs_no_clock(second: object, agrees: bool) -> None:
    from plugins.wan.tuning.autotune import APART, FUSED

    kept = tuner({})
    assert kept.agrees("case", lambda: ways(**{APART: 1.0, FUSED: second})) is agrees
    assert kept.agrees("case", dict) is agrees


def test_a_lost_device_and_a_first_way_that_fails_are_told() -> None:
    kept = tuner({"first": 1.0, "other": 0.5})

    with pytest.raises(RuntimeError, match="illegal memory access"):
        kept.fastest("case", lambda: ways(first=1.0, other=RuntimeError("CUDA error: an illegal memory access")))
    with pytest.raises(ValueError, match="no such"):
        kept.fastest("case", lambda: ways(first=ValueError("no such")))


def test_candidates_are_what_a_card_may_run() -> None:
    from plugins.diffusers_backend.dit.attention import backends_for

    assert list(backends_for("native", None)) == ["native", "_native_math"]
    assert list(backends_for("native", (8, 9))) == ["native", "_native_cudnn", "_native_flash", "_native_efficient"]
    assert list(backends_for("_flash_3_hub", (9, 0)))[:2] == ["_flash_3_hub", "_native_cudnn"]


def test_flash_attention_4_is_a_candidate_where_it_is_installed_and_runs(flash_4: None) -> None:
    from plugins.diffusers_backend.dit.attention import backends_for

    for capability, able in (((8, 0), False), ((9, 0), True), ((10, 0), True), ((12, 0), False)):
        assert ("flash_4" in backends_for("native", capability)) is able
        assert ("flash_4:176" in backends_for("native", capability)) is (capability == (9, 0))


def test_the_choice_for_a_models_shape_is_that_of_the_table() -> None:
    import torch

    from nano import parts
    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.tuning.chooser import Chooser
    from plugins.wan.tuning.autotune import Autotuner

    model = parts.seeded(3, parts.transformer)
    latents, embeds = torch.randn(1, 16, 5, 8, 8), torch.randn(1, 512, 128)
    for second, chosen in ((0.5, "_native_math"), (2.0, "native")):
        seconds = itertools.cycle((1.0, second))  # of the two that a CPU has
        chooser = Chooser(tuner=Autotuner(lambda _, seconds=seconds: next(seconds)))
        for measured in (True, False):
            network = Network(model, replace(OFF, measured_attention=measured, gelu_epilogue=True), None, chooser)
            kernels = network.prepare(latents, embeds, 1).kernels
            assert kernels.attention == (chosen if measured else "native")
            assert not kernels.fused_gelu  # on a CPU that would be another GELU


def test_what_the_options_name_is_not_measured() -> None:
    from plugins.diffusers_backend.load import DiffusersPlacement
    from plugins.diffusers_backend.options import Options

    asked = {"fast": {"measured_attention": True}}
    for attention, measured in (("auto", True), ("native", False)):
        options = Options.of(spec(Path(), Modality.T2V, {**asked, "attention": attention}))
        assert DiffusersPlacement.of(options, "cpu").fast.measured_attention is measured


def test_flash_attention_4_is_ours_and_makes_the_same_video(family: Any, pool: Any, flash_4: None) -> None:
    without, using = (spec(family / T2V, Modality.T2V, {"attention": name}) for name in ("native", "flash_4"))
    loaded = load(using, pool)
    network = loaded.paths.networks["transformer"]

    assert network.chooser.attention == "flash_4"
    made, expected = (
        video(run(model, each, task())) for model, each in ((using, loaded), (without, load(without, pool)))
    )
    require_same(made, expected)


def test_flash_attention_4_keeps_the_rules_of_custom_operations(flash_4: None) -> None:
    import torch

    from plugins.diffusers_backend.dit.attention import flash_4 as operation

    given = tuple(torch.randn(1, 6, 2, 32) for _ in range(3))
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    for tile in ((), (176,)):
        assert set(torch.library.opcheck(operation, (*given, *tile), test_utils=tests).values()) == {"SUCCESS"}


def test_a_tile_is_a_part_of_the_name(flash_4: None) -> None:
    import torch

    from plugins.diffusers_backend.dit.attention import attend

    given = tuple(torch.randn(1, 6, 2, 32) for _ in range(3))
    torch.testing.assert_close(attend(*given, None, "flash_4:176"), attend(*given, None, "native"))
    with pytest.raises(AssertionError):  # so it is this one that the other kernel is given
        attend(*given, None, "flash_4:144")


def test_without_its_package_flash_attention_4_fails_the_load_with_what_helps(family: Any, pool: Any) -> None:
    if any(each.name == "flash-attn-4" for each in metadata.distributions()):
        pytest.skip("it is installed")
    with pytest.raises(LoadFailed, match=r"attention flash_4 needs the package flash-attn-4: pip install"):
        load(spec(family / T2V, Modality.T2V, {"attention": "flash_4"}), pool)


def test_cudnn_attention_of_this_layout_makes_no_copy() -> None:
    """By tensors without numbers, which a machine without a GPU has too."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from plugins.diffusers_backend.dit.attention import attend

    with FakeTensorMode():
        query, key = (torch.empty(1, 100, 12, 128, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        value = torch.empty(1, 100, 3, 12, 128, device="cuda", dtype=torch.bfloat16).select(2, 2)
        made = attend(query, key, value, None, "_native_cudnn")

    assert made.shape == (1, 100, 12, 128)
    assert made.is_contiguous()


def test_a_product_with_gelu_in_it_has_the_shape_of_the_two() -> None:
    import torch

    from plugins.diffusers_backend.dit.linear import linear_with_gelu

    x, weight, bias = torch.randn(1, 2, 5, 8), torch.randn(16, 8), torch.randn(16)
    made = linear_with_gelu(x, weight, bias)

    assert made.shape == (1, 2, 5, 16)
    # the CPU's is the other GELU, and near
    expected = torch.nn.functional.gelu(torch.nn.functional.linear(x, weight, bias), approximate="tanh")
    assert (made - expected).abs().max() < 2e-3
