"""The card run's formulas, random models and kinds of kernels."""

import math
import shutil

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("latents", [(3, 8, 8), (2, 12, 4)])
def test_the_operations_are_those_that_torch_counts(latents: tuple[int, int, int]) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from bench.card import models
    from bench.card.shapes import TOY, Dit

    dit = Dit(TOY.dits["toy"].config, latents, 0)
    model = models.transformer(dit.config, "cpu")
    inputs = (
        models.noise("cpu", torch.bfloat16, 1, 16, *latents),
        models.times("cpu"),
        models.prompts(1, dit.config["text_dim"], "cpu"),
    )
    # attention as plain products: the counter does not know the CPU's own kernel
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(*inputs)
    # not in the formula: what reads the text, the latents and the timestep, once for all blocks
    once = sum(count for name, count in _by_part(counter).items() if ".blocks" not in name)

    assert counter.get_total_flops() - once == dit.flop


def _by_part(counter: object) -> dict[str, int]:
    """Return the count of each part directly below the transformer, and of its blocks."""
    counts = counter.get_flop_counts()  # type: ignore[attr-defined]
    return {
        name: sum(each.values())
        for name, each in counts.items()
        if name.count(".") == 1 and name.startswith("WanTransformer3DModel.")
    }


def test_true_shapes_take_what_is_published() -> None:
    from bench.card.shapes import TRUE

    found = {name: round(dit.flop / 1e12) for name, dit in TRUE.dits.items()}

    assert list(found.values()) == [283, 517, 1678, 6523]
    assert [dit.tokens for dit in TRUE.dits.values()] == [32760, 27280, 32760, 75600]


def test_random_models_have_the_number_formats_that_diffusers_keeps() -> None:
    from bench.card import models
    from bench.card.shapes import TOY

    model = models.transformer(TOY.dits["toy"].config, "cpu")

    assert model.blocks[0].attn1.to_q.weight.dtype is torch.bfloat16
    assert model.blocks[0].scale_shift_table.dtype is torch.float32
    assert model.rope.freqs_cos.dtype is torch.float32
    assert model.blocks[0].attn1.norm_q.weight.eq(1).all()
    assert 0.01 < model.blocks[0].attn1.to_q.weight.std() < 0.03


@pytest.mark.storm
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles, which needs g++")
def test_the_bench_of_onnx_runtime_runs_too() -> None:
    from bench.figures import onnx_gpu

    rows = {row.what: row.value for row in onnx_gpu.toy().rows}

    assert all(math.isfinite(value) for value in rows.values())
    assert {"toy: PyTorch eager", "toy: PyTorch compiled", "toy: ONNX Runtime"} < rows.keys()
    (difference,) = (value for what, value in rows.items() if "difference of ONNX Runtime from eager" in what)
    assert 0 < difference < 1e-3


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_6_64x128x128", "attention"),
        ("kernel_cutlass_kernel_flash_attncuteflash_fwdFlashAttentionForwardSm90", "attention"),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128>>", "attention"),
        ("nvjet_tst_128x256_64x4_2x1_v_bz_coopA_bias_TNT", "products"),
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("triton_red_fused_add_native_layer_norm_mul", "elementwise"),
        ("void at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add>", "elementwise"),
    ],
)
def test_the_kind_of_a_kernel_follows_from_its_name(kernel: str, kind: str) -> None:
    from bench.card.profile import kind_of

    assert kind_of(kernel) == kind
