"""Weights in codes: the numbers in GGUF's blocks, fp8 and int8."""

from typing import Any

import pytest

from registry.folders.dtypes import BLOCKS

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

import numpy as np  # noqa: E402

from plugins.wan.weights.device_format import FP8, FP8_PRODUCTS, INT8, code_bytes, format_of  # noqa: E402
from plugins.wan.weights.quantised.codes import Codes, dense, numbers, product, quantise  # noqa: E402
from plugins.wan.weights.quantised.layer import QuantisedLinear, layout, weight_of  # noqa: E402

ERROR = {FP8: 3e-2, INT8: 1e-2}  # of a row of normal numbers, relative in the 2-norm


def rows(*shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def codes_of(weight: Any, form: str) -> Codes:
    return Codes(*quantise(weight, FP8 if form == FP8_PRODUCTS else form), form)


@pytest.mark.parametrize("form", BLOCKS)
def test_random_blocks_give_the_numbers_of_gguf_bit_for_bit(form: str) -> None:
    block, code = BLOCKS[form], gguf.GGMLQuantizationType[form]
    raw = np.random.default_rng(1).integers(0, 256, (64, 5 * block.size), dtype=np.uint8)
    with np.errstate(all="ignore"):  # random bytes are scales of every kind, NaN among them
        expected = gguf.quants.dequantize(raw, code)

    got = numbers(torch.from_numpy(raw), form).numpy()

    assert gguf.GGML_QUANT_SIZES[code] == (block.numbers, block.size)
    assert np.isfinite(expected).mean() > 0.9
    assert np.array_equal(got, expected, equal_nan=True)


@pytest.mark.parametrize("form", [FP8, INT8])
def test_codes_stand_for_numbers_near_those_they_were_made_of(form: str) -> None:
    weight = rows(64, 512) * torch.logspace(-6, 6, 64)[:, None]  # each row has a scale of its own

    got = dense(codes_of(weight, form), torch.float32)

    assert (((got - weight).norm(dim=1) / weight.norm(dim=1)) < ERROR[form]).all()


@pytest.mark.parametrize("form", [FP8, INT8])
def test_numbers_in_16_bits_are_rounded_once(form: str) -> None:
    weight = codes_of(rows(16, 64), form)

    assert torch.equal(dense(weight, torch.bfloat16), dense(weight, torch.float32).bfloat16())


@pytest.mark.parametrize("form", [FP8, INT8])
def test_a_row_of_zeros_stays_one_and_what_is_not_finite_is_not_hidden(form: str) -> None:
    weight = rows(4, 8)
    weight[0], weight[1, 2], weight[2, 3] = 0, float("nan"), float("inf")

    got = dense(codes_of(weight, form), torch.float32)

    assert torch.equal(got[0], torch.zeros(8))
    assert not got[1].isfinite().all()
    assert not got[2].isfinite().all()
    assert got[3].isfinite().all()


@pytest.mark.parametrize("form", [FP8, INT8, FP8_PRODUCTS])
def test_a_product_of_codes_is_that_of_their_numbers(form: str) -> None:
    weight, x, bias = codes_of(rows(32, 64), form), rows(2, 3, 64), rows(32)
    expected = torch.nn.functional.linear(x, dense(weight, torch.float32), bias)

    off = (product(x, weight, bias) - expected).norm() / expected.norm()

    bound = ERROR[FP8] if form == FP8_PRODUCTS else 1e-6  # the former rounds its input to fp8, too
    assert off < bound
    assert form != FP8_PRODUCTS or off > 1e-3


@pytest.mark.parametrize("form", [FP8, INT8, *BLOCKS])
def test_a_layer_has_the_bytes_that_are_planned_for_its_format(form: str) -> None:
    layer = QuantisedLinear(48, 512, form, torch.bfloat16, None)

    assert sum(each.nbytes for each in layer.parameters()) == code_bytes(form, (48, 512))
    assert weight_of(layer).shape == (48, 512)
    assert (layer.weight.shape, layer.weight.dtype) == ((48, 512), torch.bfloat16)
    assert layout(form, (48, 512)).keys() == dict(layer.named_parameters()).keys()


@pytest.mark.parametrize(
    ("part", "name", "dtype", "shape", "option", "expected"),
    [
        ("transformer", "blocks.3.attn1.to_q.weight", "F8_E4M3", (8, 8), "auto", FP8),
        ("transformer_2", "blocks.3.ffn.net.0.proj.weight", "Q4_K", (8, 256), "auto", "Q4_K"),
        ("transformer", "blocks.3.attn1.to_q.weight", "BF16", (8, 8), "auto", None),
        ("transformer", "blocks.3.attn1.to_q.weight", "BF16", (8, 8), "int8", INT8),
        ("transformer", "blocks.3.attn1.to_q.weight", "Q4_K", (8, 256), "fp8", FP8),
        ("transformer", "blocks.3.attn1.to_q.weight", "Q4_K", (8, 256), "dense", None),
        ("transformer", "blocks.3.attn1.to_q.weight", "F8_E5M2", (8, 8), "auto", None),
        ("transformer", "blocks.3.attn1.to_q.bias", "F32", (8,), "fp8", None),
        ("transformer", "blocks.3.scale_shift_table", "F32", (1, 6, 8), "fp8", None),
        ("transformer", "proj_out.weight", "F8_E4M3", (8, 8), "auto", None),
        ("transformer", "condition_embedder.time_proj.weight", "Q8_0", (8, 32), "fp8", None),
        ("text_encoder", "encoder.block.0.layer.0.SelfAttention.q.weight", "Q8_0", (8, 32), "auto", "Q8_0"),
        ("text_encoder", "encoder.block.0.layer.1.DenseReluDense.wo.weight", "BF16", (8, 32), "fp8", None),
        ("text_encoder", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "Q8_0", (32, 32),
         "auto", None),
        ("text_encoder", "shared.weight", "F8_E4M3", (8, 32), "auto", None),
        ("vae", "decoder.conv_in.weight", "F8_E4M3", (8, 32), "auto", None),
    ],
)  # fmt: skip
def test_weights_of_block_linears_stay_in_codes_and_no_others(
    part: str, name: str, dtype: str, shape: tuple[int, ...], option: str, expected: str | None
) -> None:
    assert format_of(part, name, dtype, shape, option) == expected
