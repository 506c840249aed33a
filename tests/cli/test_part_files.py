"""Models with files of their own for parts, on the command line."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import Run, runner
from support.hub import COMMIT, Hub, use
from support.part_files import put_apart

from bench.tools.layout import write_model
from router.catalog.publication import GRAIN_SECONDS
from router.doctor import models as doctor
from router.settings import Settings
from router.system import reading

WHOLE = "diffusion_pytorch_model.safetensors"
MODELS = """
models:
  own:
    source: ./base
    backend: diffusers
    parts: {transformer: ./t.safetensors}
  far:
    source: org/far
    backend: diffusers
    modality: t2v
    parts: {vae: org/far/split/vae.safetensors, transformer: ./t.safetensors}
"""
TRANSFORMER, TEXT_ENCODER, VAE = "transformer BF16 23.5 kB", "text_encoder BF16 3.5 kB", "vae F32 66.5 kB"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate ...` in this process; return its status, output and messages."""
    (tmp_path / "models.yaml").write_text(MODELS)
    put_apart(write_model(tmp_path / "base"), "transformer", tmp_path / "t.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return runner(monkeypatch, capsys, models=tmp_path / "models.yaml", data=tmp_path / "data", plugins="")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = write_model(tmp_path / "repo")
    put_apart(folder, "vae", folder / "split" / "vae.safetensors", "F32")
    (folder / "vae" / WHOLE).write_bytes(b"the whole one")
    hub = Hub("org/far", folder)
    use(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.close()


def test_check_says_what_weights_take(run: Run) -> None:
    status, out, _ = run("check")
    first, second, *_ = out.splitlines()

    assert status == 0
    assert first.startswith(f"own: {TRANSFORMER}, {TEXT_ENCODER}, {VAE}; ")
    assert first.endswith((" on cpu", " on cuda:0"))
    assert second == f"far: {TRANSFORMER}, text_encoder not here, vae not here"


def test_check_names_the_line_of_a_missing_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").unlink()
    status, out, _ = run("check")

    path = f"{tmp_path}/t.safetensors: t.safetensors of transformer is missing"
    assert status == 1
    assert out.splitlines()[:2] == [
        f"{tmp_path}/models.yaml:6: models.own.parts.transformer: {path}",
        f"{tmp_path}/models.yaml:11: models.far.parts.transformer: {path}",
    ]


def test_models_has_a_column_for_each(run: Run) -> None:
    own, far = run("models")[1].splitlines()[1:3]

    assert "93.4 kB (BF16, F32)" in own
    assert " on c" in own  # pu, or uda
    assert "23.5 kB (BF16); text_encoder, vae not here" in far


def test_the_doctor_says_it_too(run: Run) -> None:
    assert f"ok    weights: own: {TRANSFORMER}, {TEXT_ENCODER}, {VAE}; " in run("doctor")[1]


def test_the_doctor_names_part_files_that_others_may_change(run: Run, tmp_path: Path) -> None:
    with reading(Settings(models=tmp_path / "models.yaml", data=tmp_path / "data")) as system:
        own, _ = system.registries.poll().models
    assert list(doctor.safe_files(own, tmp_path.stat().st_uid)) == []
    (tmp_path / "t.safetensors").chmod(0o666)
    (found,) = doctor.safe_files(own, tmp_path.stat().st_uid)

    assert found.message == f"everybody may change {tmp_path}/t.safetensors"


@pytest.mark.slow
def test_a_reload_sees_a_file_that_has_changed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS.partition("  far:")[0])
    time.sleep(GRAIN_SECONDS + 0.1)  # younger files may have changed in any case
    assert "is revision 1" in run("reload")[1]
    assert "nothing has changed" in run("reload")[1]
    (tmp_path / "t.safetensors").write_bytes(b"PK\x03\x04" + bytes(99))
    lines = run("reload")[1].splitlines()

    assert lines[0] == f"{tmp_path}/models.yaml is revision 2"
    assert "broken: " in "".join(lines)


@pytest.mark.slow
def test_pull_fetches_files_alone_and_leaves_out_what_they_replace(run: Run, hub: Hub) -> None:
    status, out, _ = run("pull", "far")

    assert status == 0
    assert f"far: part vae: {run_cache(out)}/split/vae.safetensors\n" in out
    assert "far: part transformer: nothing to fetch, its file is here\n" in out
    assert f"far: {run_cache(out)}\n" in out
    assert "split/vae.safetensors" in hub.asked
    assert {f"vae/{WHOLE}", f"transformer/{WHOLE}"}.isdisjoint(hub.asked)
    assert f"far: {TRANSFORMER}, {TEXT_ENCODER}, vae F32 158.7 kB; " in run("check")[1]
    assert (
        run("pull", "own")[1]
        == "own: part transformer: nothing to fetch, its file is here\nown: nothing to fetch, its weights are here\n"
    )


@pytest.mark.slow
def test_a_model_that_waits_for_a_file_is_whole_after_a_pull(run: Run, hub: Hub, tmp_path: Path) -> None:
    files = "{transformer: ./t.safetensors, vae: org/far/split/vae.safetensors}"
    (tmp_path / "models.yaml").write_text(f"models:\n  own: {{source: ./base, backend: diffusers, parts: {files}}}\n")
    status, out, _ = run("check")
    pulled = run("pull", "own")[1]

    assert status == 1
    assert "vae.safetensors of vae is missing" in out
    assert "its weights are" not in pulled  # what was read before is no longer true
    assert hub.asked == ["split/vae.safetensors"]
    assert run("check")[0] == 0


def run_cache(out: str) -> str:
    """Return the snapshot's folder, as printed."""
    return next(line for line in out.splitlines() if line.endswith(COMMIT)).removeprefix("far: ")
