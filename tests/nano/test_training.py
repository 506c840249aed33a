"""The training's shortcuts agree with the pipelines, and interrupted runs resume exactly."""

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from nano import parts  # noqa: E402
from nano.scene import draw_scene, render, subjects  # noqa: E402
from nano.training import diffusion, text, vae  # noqa: E402
from nano.training.loop import Draw, Plan, autocast, train  # noqa: E402


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    rng = np.random.default_rng(1)
    return vae.to_floats([render(draw_scene(subject, rng)) for subject in subjects(held_out=True)[:2]])


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 17])
def test_two_passes_encode_and_decode_as_the_vae_does(clips: torch.Tensor, frames: int) -> None:
    model = parts.seeded(1, parts.vae)
    hidden = model._encode(clips[:, :, :frames])
    latents = hidden[:, : parts.Z_DIM] * 0.1
    decoded = model.decode(latents).sample

    vae.fast_norms(vae.channels_last(model))

    assert torch.allclose(vae.encode(model, clips[:, :, :frames]), hidden, atol=2e-5)
    assert torch.allclose(vae.decode(model, latents).clamp(-1, 1), decoded, atol=2e-4)


def test_the_fast_norm_has_the_gradient_of_the_real_one() -> None:
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm

    norm = WanRMS_norm(4, images=False).double()
    torch.nn.init.normal_(norm.gamma)
    values = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(values)
    expected = torch.autograd.grad((norm(values) * weight).sum(), [values, norm.gamma])

    vae.fast_norms(norm)
    got = torch.autograd.grad((norm(values) * weight).sum(), [values, norm.gamma])

    assert all(torch.allclose(a, b) for a, b in zip(got, expected, strict=True))


@torch.no_grad()
def test_one_row_of_padding_stands_for_all_of_them() -> None:
    model = parts.seeded(3, parts.transformer)
    hidden = torch.zeros(2, parts.TEXT_TOKENS, parts.TEXT_DIM)
    hidden[0, :7], hidden[1, :20] = torch.randn(7, parts.TEXT_DIM), torch.randn(20, parts.TEXT_DIM)
    inputs = torch.randn(2, parts.Z_DIM, 5, 8, 8), torch.tensor([900.0, 20.0])
    expected = model(*inputs, hidden).sample

    diffusion.merge_padding(model)

    assert torch.allclose(model(*inputs, hidden[:, : text.SLOTS + 1]).sample, expected, atol=1e-5)


@torch.no_grad()
def test_new_input_channels_change_nothing_at_first() -> None:
    base = parts.seeded(3, parts.transformer)
    wider = parts.seeded(4, lambda: parts.transformer(parts.I2V_CHANNELS))
    diffusion.start_from(wider, base.state_dict())
    noisy, step = torch.randn(1, parts.Z_DIM, 2, 4, 4), torch.tensor([500.0])
    prompt = torch.randn(1, 512, parts.TEXT_DIM)
    more = torch.cat([noisy, torch.randn(1, 20, 2, 4, 4)], dim=1)

    assert torch.allclose(wider(more, step, prompt).sample, base(noisy, step, prompt).sample, atol=1e-6)


def test_noise_levels_are_those_of_the_task() -> None:
    task = diffusion.Task(Plan("x", 1, 1.0), low=0.875)
    levels = diffusion._levels(task, 1000, Draw(0, np.random.default_rng(), torch.Generator()))
    assert 0.875 <= levels.min() < 0.88
    assert 0.99 < levels.max() <= 1.0


def test_a_token_of_the_first_frame_is_at_step_zero() -> None:
    steps = diffusion.token_timesteps(torch.tensor([300.0, 700.0]), torch.zeros(2, 16, 5, 8, 8))
    assert steps.shape == (2, 5 * 4 * 4)
    assert (steps[:, :16] == 0).all()
    assert (steps[0, 16:] == 300).all()
    assert (steps[1, 16:] == 700).all()


def test_an_interrupted_run_ends_where_the_other_does(tmp_path: Path) -> None:
    plan = Plan("line", steps=12, rate=0.1, warmup=2)

    def run(folder: Path, stop: int | None) -> torch.nn.Module:
        model = torch.nn.Linear(3, 1)
        torch.nn.init.zeros_(model.weight)

        def loss(draw: Draw) -> dict[str, torch.Tensor]:
            if draw.step == stop:
                raise KeyboardInterrupt
            inputs = torch.randn(8, 3, generator=draw.torch)
            return {"loss": (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()}

        return train(plan, model, loss, folder, save_every=0.0)

    torch.manual_seed(0)
    whole = run(tmp_path / "whole", None)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 7)
    resumed = run(tmp_path / "cut", None)

    assert torch.equal(whole.weight, resumed.weight)
    assert (tmp_path / "whole" / "line.json").read_text() == (tmp_path / "cut" / "line.json").read_text()


@pytest.mark.parametrize("native", [True, False])
def test_a_cpu_without_bf16_instructions_computes_in_fp32(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    with autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if native else torch.float32)


@pytest.mark.storm
def test_the_whole_training_runs(tmp_path: Path) -> None:
    """Two steps of each stage, from nothing to a family that stock diffusers runs."""
    from click.testing import CliRunner
    from diffusers import WanPipeline

    from nano.family import link_family
    from nano.train import main

    weights = tmp_path / "weights"
    command = [
        "--brief",
        "--no-compile",
        "--device",
        "cpu",
        "--work",
        str(tmp_path / "work"),
        "--weights",
        str(weights),
    ]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "losses.png").stat().st_size > 1000

    link_family(tmp_path / "family", weights)
    pipe = WanPipeline.from_pretrained(tmp_path / "family" / "wan-nano-t2v")
    frames = pipe("a red circle", height=32, width=32, num_frames=5, num_inference_steps=2).frames
    assert frames.shape == (1, 5, 32, 32, 3)
