"""The shipped adapters fit, and their training shows no held-out subject."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from nano.adapters import DOWN, FOLDER, PREFIX, UP, adapter_files, write_merged
from nano.family import RECIPES, WEIGHTS
from nano.measure import chroma
from nano.scene import Subject, draw_scene, is_held_out, render, subjects

SHIPPED = [(model, "fast4") for model in RECIPES] + [("wan-nano-t2v", "noir")]


def test_the_adapters_of_each_model_stay_under_a_megabyte() -> None:
    for model in RECIPES:
        assert 0 < sum(path.stat().st_size for path in (WEIGHTS / FOLDER / model).iterdir()) < 1e6


def test_every_file_there_belongs_to_an_adapter_of_a_model() -> None:
    named = {path for model, adapter in SHIPPED for path in adapter_files(model, adapter).values()}
    assert {path for path in (WEIGHTS / FOLDER).rglob("*") if path.is_file()} == named


def test_a_black_and_white_scene_has_no_colour_and_a_visible_shape() -> None:
    pytest.importorskip("torch")
    from nano.training.noir import black_and_white

    rng = np.random.default_rng(1)
    for subject in subjects(held_out=False):
        drawn = draw_scene(subject, rng)
        scene = black_and_white(drawn)
        assert len(set(scene.colour)) == 1
        assert abs(scene.colour[0] - scene.background[0]) >= 60
        # a few frames have all of a scene's colours
        assert chroma(render(scene, frames=3)) == 0.0
        assert (chroma(render(drawn, frames=3)) or 0.0) > 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("model", "adapter"), SHIPPED)
def test_the_matrices_fit_the_transformer(model: str, adapter: str) -> None:
    torch = pytest.importorskip("torch")
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    from safetensors.torch import load_file

    for part, path in adapter_files(model, adapter).items():
        transformer = WanTransformer3DModel.from_pretrained(WEIGHTS / model / part)
        layers = {name: module for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)}
        matrices = load_file(path)

        assert set(matrices) == {f"{PREFIX}{name}.{matrix}" for name in layers for matrix in (DOWN, UP)}
        for name, layer in layers.items():
            down, up = matrices[f"{PREFIX}{name}.{DOWN}"], matrices[f"{PREFIX}{name}.{UP}"]
            assert (*up.shape[:1], *down.shape[1:]) == tuple(layer.weight.shape)
            assert up.shape[1] == down.shape[0]
            assert up.dtype == down.dtype == torch.float16
            assert torch.isfinite(up).all()
            assert torch.isfinite(down).all()


@pytest.mark.slow
def test_a_merged_model_has_the_sum_of_its_adapters(whole_family: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    from safetensors.torch import load_file

    both = [adapter_files("wan-nano-t2v", adapter) for adapter in ("fast4", "noir")]

    write_merged(tmp_path / "merged", whole_family / "wan-nano-t2v", both)

    layer = "blocks.3.attn2.to_k"
    for part in ("transformer", "transformer_2"):
        plain, merged = (
            WanTransformer3DModel.from_pretrained(folder / part, torch_dtype=torch.float32).get_submodule(layer).weight
            for folder in (whole_family / "wan-nano-t2v", tmp_path / "merged")
        )
        matrices = [load_file(files[part]) for files in both]
        added = sum(one[f"{PREFIX}{layer}.{UP}"].float() @ one[f"{PREFIX}{layer}.{DOWN}"].float() for one in matrices)
        assert torch.allclose(merged, plain + added, atol=1e-6)
        assert not torch.allclose(merged, plain, atol=1e-3)
    assert (tmp_path / "merged" / "vae").resolve() == (whole_family / "wan-nano-t2v" / "vae").resolve()


@pytest.mark.slow
def test_both_adapters_draw_held_out_subjects_in_grey_in_four_steps(whole_family: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from nano.evaluate import score
    from nano.model import FAST4, make_clips
    from nano.requests import held_out

    requests = held_out(16, with_image=False)
    files = {adapter: adapter_files("wan-nano-t2v", adapter) for adapter in ("fast4", "noir")}
    write_merged(tmp_path / "fast", whole_family / "wan-nano-t2v", [files["fast4"]])
    write_merged(tmp_path / "grey", whole_family / "wan-nano-t2v", [*files.values()])

    fast, grey = (make_clips(tmp_path / name, requests, name, FAST4) for name in ("fast", "grey"))

    for clips in (fast, grey):
        shares = score(requests, clips)
        assert shares["shape"] >= 0.6
        assert shares["direction"] >= 0.9
    assert score(requests, fast)["colour"] >= 0.9
    assert np.median([chroma(clip) or 0.0 for clip in fast]) > 0.3
    assert np.median([chroma(clip) or 0.0 for clip in grey]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("model", ["wan-nano-t2v", "wan-nano-ti2v", "wan-nano-i2v"])
def test_the_unrolled_steps_end_where_the_pipeline_does(
    whole_family: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    import diffusers
    from PIL import Image

    from nano.model import FAST4
    from nano.training.adapter_stages import AdapterStudio
    from nano.training.sampling import Prompt

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})  # both in fp32
    studio = AdapterStudio(WEIGHTS, Path(), torch.device("cpu"), brief=True)
    school = studio.school(model, with_image=model != "wan-nano-t2v")
    subject = subjects(held_out=False)[3]
    scenes = [draw_scene(subject, np.random.default_rng(1))]
    noise = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    settings = {
        "prompt": "it moves left",
        "height": 32,
        "width": 32,
        "num_frames": 5,
        "num_inference_steps": FAST4.steps,
        "guidance_scale": 3.0,
        "latents": noise,
        "output_type": "latent",
    }
    kind, image = diffusers.WanPipeline, None
    if model != "wan-nano-t2v":
        from nano.training.latents import Size
        from nano.training.lessons import images_of

        kind, image = diffusers.WanImageToVideoPipeline, images_of(school, scenes, Size(32, 32, 5, 1))
        settings["image"] = Image.fromarray(render(scenes[0], 32, 32, 1)[0])
    pipe = kind.from_pretrained(whole_family / model, torch_dtype=torch.float32)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=FAST4.flow_shift)
    expected = pipe(**settings).frames

    with torch.no_grad():
        prompt = Prompt(school.text(["it moves left"]), school.text([""]), image)
        guided = type(FAST4)(FAST4.steps, 3.0, FAST4.flow_shift)
        got = school.teacher.sample(noise, prompt, guided)

    assert torch.allclose(got, expected, atol=2e-3)


@pytest.mark.slow
def test_a_brief_training_writes_the_files_that_are_shipped(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from click.testing import CliRunner
    from safetensors.torch import load_file

    from nano.train import main

    weights = tmp_path / "weights"
    shutil.copytree(WEIGHTS, weights, ignore=shutil.ignore_patterns(FOLDER))
    options = ["--adapters", "--brief", "--device", "cpu", "--work", str(tmp_path / "work"), "--weights", str(weights)]

    result = CliRunner().invoke(main, options, catch_exceptions=False)

    assert result.exit_code == 0, result.output
    for model, adapter in SHIPPED:
        for part, path in adapter_files(model, adapter, weights).items():
            made, shipped = load_file(path), load_file(adapter_files(model, adapter)[part])
            assert {name: one.shape for name, one in made.items()} == {name: one.shape for name, one in shipped.items()}
            assert all(one.abs().sum() > 0 for one in made.values())
    for path in (tmp_path / "work").glob("lessons-*.pt"):
        shown = torch.load(path, weights_only=True)["subjects"]
        assert shown
        assert not any(is_held_out(Subject(*fields)) for fields in shown)
