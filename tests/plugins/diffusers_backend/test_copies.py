"""The bench of copies, at toy size and on the CPU, where its bus is memory and nothing moves."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from bench.figures import copies  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would measure")
def test_without_a_gpu_nothing_is_measured() -> None:
    assert copies.measure() is None


def test_each_row_is_a_number() -> None:
    toy = {**copies.MODELS["1.3B"], "num_attention_heads": 2, "attention_head_dim": 32, "ffn_dim": 64, "num_layers": 2}

    figure = copies.measured("cpu", {"toy": toy, "other": toy}, 2**20, "a test")

    assert len(figure.rows) == 16
    assert all(math.isfinite(row.value) and row.value >= 0 for row in figure.rows)
    weights = next(row.value for row in figure.rows if row.what == "toy: weights")
    assert weights == pytest.approx(2e-3, rel=0.9)
