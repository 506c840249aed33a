"""`framegate plan`: its table, its advice, its JSON, and its errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.tools.layout import A14B, write_model, write_safetensors
from registry.folders.expected import expected
from registry.published import parts_of
from router.cli.main import cli

MODELS = """
models:
  a14b: {backend: diffusers, source: Wan-AI/Wan2.2-T2V-A14B-Diffusers}
  small: {backend: diffusers, source: Wan-AI/Wan2.1-T2V-1.3B-Diffusers}
  toy: {backend: diffusers, source: ./toy}
  colour: {backend: still, modality: t2v}
  gone: {backend: diffusers, source: ./gone, modality: t2v}
routes: {both: [a14b, small]}
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_model(tmp_path / "toy", A14B)
    file = tmp_path / "models.yaml"
    file.write_text(MODELS)
    return file


def run(models: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments, "--models", str(models), "--data", str(models.parent / "data")])


def report(models: Path, *arguments: str) -> dict:
    found: dict = json.loads(run(models, "--json", *arguments).output)
    return found


def test_a_card_of_24_gb_takes_the_small_model_and_offloads_the_large_one(models: Path) -> None:
    shown = run(models, "both", "--memory", "24GB").output

    assert "On a card of 24.0 GB models may take 21.6 GB, their weights 19.4 GB of it" in shown
    assert "a14b as it is configured needs 68.8 GB of weights" in shown
    assert "    options: {group_offload: true}\n" in shown
    assert "68.6 GB on the host" in shown
    assert "In memory once for a14b, small: vae_decoder (146.6 MB)." in shown
    assert "~ is an estimate from the code, which no GPU has measured." in shown


def test_all_models_of_the_file_are_planned_together(models: Path) -> None:
    found = report(models, "--memory", "141GB")

    assert {each["name"]: each["known_by"] for each in found["models"]} == {
        "a14b": "published shapes",
        "small": "published shapes",
        "toy": "files",
    }
    assert all(each["fits"] for each in found["models"])
    assert [step["unloads"] for step in found["loadings"]] == [[], [], []]
    assert set(found["unknown"]) == {"colour", "gone"}


def test_the_bytes_of_published_shapes_are_those_of_the_paper(models: Path) -> None:
    (small,) = report(models, "small", "--memory", "24GB")["models"]
    parts = {part["name"]: part["device"] for part in small["parts"]}

    assert parts["transformer"] == pytest.approx(2 * 1.419e9, rel=0.01)
    assert parts["text_encoder"] == pytest.approx(2 * 5.68e9, rel=0.01)


@pytest.mark.parametrize("name", ["wan2.1-flf2v-14b-720p", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"])
def test_a_model_need_not_be_listed(models: Path, name: str) -> None:
    (found,) = report(models, name, "--memory", "80GB")["models"]

    assert found["name"] == name
    assert found["fits"]


def test_a_small_host_leaves_group_offload_out(models: Path) -> None:
    large, small = (
        report(models, "a14b", "--memory", "24GB", "--host", host)["models"][0] for host in ("96GB", "32GB")
    )

    assert any(other["options"] == {"group_offload": True} for other in large["alternatives"])
    assert all(other["files"] for other in small["alternatives"])


def test_a_part_in_a_file_that_is_not_here_counts_by_the_format_in_its_name(models: Path) -> None:
    file = "parts: {transformer: city96/Wan2.1-T2V-14B-gguf/wan2.1-t2v-14b-Q4_K_M.gguf}"
    models.write_text(
        f"models:\n  q4:\n    backend: diffusers\n    source: Wan-AI/Wan2.1-T2V-14B-Diffusers\n    {file}\n"
    )

    (found,) = report(models, "--memory", "48GB")["models"]

    assert found["known_by"] == "file formats"
    assert found["parts"][0]["format"] == "Q4_K"
    assert 14.29e9 * 4.5 / 8 < found["parts"][0]["device"] < 14.29e9 * 5.5 / 8  # Q4_K alone has 4.5 bits, Q5_K 5.5


def test_a_part_in_a_file_that_is_here_counts_by_its_header(models: Path) -> None:
    published = parts_of("wan2.1-t2v-1.3b", 1)["transformer"]
    shapes = dict(expected("transformer", published.settings))
    write_safetensors(models.parent / "small.safetensors", shapes, "F8_E4M3")  # holes
    file = "parts: {transformer: ./small.safetensors}"
    models.write_text(
        f"models:\n  small:\n    backend: diffusers\n    source: Wan-AI/Wan2.1-T2V-1.3B-Diffusers\n    {file}\n"
    )

    (found,) = report(models, "--memory", "48GB")["models"]

    assert found["parts"][0]["format"] == "fp8"
    assert found["parts"][0]["device"] == pytest.approx(1.46e9, rel=0.02)  # norms and embedders are in bf16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--memory", "0"), "must be a byte size above 0, such as 24GB, got '0'"),
        (("--memory", "50%"), "must be a byte size above 0, such as 24GB, got '50%'"),
        (("--memory", "much"), "must be a byte size such as 24GB, 512MiB or 90%, got 'much'"),
        (("--memory", "8GB", "--host", "-1"), "must be a byte size such as"),
        (("nobody", "--memory", "8GB"), "no model is called 'nobody'; the models file has both, a14b, small, toy"),
        (("some/repo", "--memory", "8GB"), "not a published Wan variant and not on this machine"),
        ((), "a card's memory is needed, such as --memory 24GB"),
    ],
    ids=str,
)
def test_what_cannot_be_planned_is_said(models: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(models, *arguments)

    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


def test_the_command_imports_nothing_heavy(models: Path) -> None:
    code = (
        "import sys; from router.cli.main import cli; cli(['plan', '--memory', '24GB'], standalone_mode=False); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'diffusers', 'transformers'}))"
    )
    environ = {**os.environ, "FRAMEGATE_MODELS": str(models), "FRAMEGATE_DATA": str(models.parent / "data")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
    assert not (models.parent / "data").exists()
