"""The adapters of models on the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import Run, runner
from support.hub import Hub, use
from support.lora import write_lora

from router.doctor import models as doctor
from router.doctor.finding import Finding, Level
from router.settings import Settings
from router.system import reading

MODELS = """
models:
  m:
    source: embedded:wan-nano-t2v
    backend: diffusers
    adapters:
      near: ./near.safetensors
      gguf: ./gguf.safetensors
      gone: ./gone.safetensors
      far: {source: org/loras, files: {high: a/high.safetensors, low: a/low.safetensors}}
routes:
  any: [m]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate ...` in this process; return its status, output and messages."""
    (tmp_path / "models.yaml").write_text(MODELS)
    write_lora(tmp_path / "near.safetensors")
    (tmp_path / "gguf.safetensors").write_bytes(b"GGUF" + bytes(99))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return runner(monkeypatch, capsys, models=tmp_path / "models.yaml", data=tmp_path / "data", plugins="")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("a/high.safetensors", "a/low.safetensors", "b.safetensors"):
        write_lora(tmp_path / "repo" / name)
    hub = Hub("org/loras", tmp_path / "repo")
    use(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.close()


def test_check_names_adapters_without_files_and_files_of_other_kinds(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("check")

    gguf, gone, count = out.splitlines()[-3:]
    assert status == 1
    assert gguf.startswith(f"{tmp_path}/models.yaml:8: models.m.adapters.gguf: {tmp_path}/gguf.safetensors: ")
    assert "is a GGUF file, which is not read" in gguf
    assert gone == (
        f"{tmp_path}/models.yaml:9: models.m.adapters.gone: {tmp_path}/gone.safetensors: there is no such file"
    )
    assert count == f"{tmp_path}/models.yaml: 1 model, 1 route, 2 problems"


def test_check_is_content_with_whole_files_and_those_still_to_be_fetched(run: Run, tmp_path: Path) -> None:
    for name in ("gguf", "gone"):
        write_lora(tmp_path / f"{name}.safetensors")

    status, out, _ = run("check")

    assert (status, out.splitlines()[1:]) == (0, [f"{tmp_path}/models.yaml: 1 model, 1 route, no problems"])


def test_the_table_shows_adapters_and_what_they_lack(run: Run) -> None:
    heading, row, _, whole = run("models")[1].splitlines()

    assert heading.split()[-3:] == ["STATE", "ADAPTERS", "SOURCE"]
    assert "near, gguf (broken), gone (missing), far (mi" in row
    assert whole == "m: near, gguf (broken), gone (missing), far (missing)"


@pytest.mark.slow
def test_pull_fetches_the_adapters_of_a_model_too(run: Run, hub: Hub) -> None:
    status, out, _ = run("pull", "m")

    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("m: ")][:4] == [
        "m: nothing to fetch, its weights are embedded",
        "m: adapter near: nothing to fetch, its files are here",
        "m: adapter gguf: nothing to fetch, its files are broken",
        "m: adapter gone: nothing to fetch, its files are missing",
    ]
    assert sorted(hub.asked) == ["a/high.safetensors", "a/low.safetensors"]
    assert "near, gguf (broken), gone (missing), far  " in run("models")[1].splitlines()[1]


@pytest.mark.slow
def test_a_pull_without_the_file_on_the_hub_is_one_message(run: Run, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS.replace("a/low", "c/low"))
    status, _, err = run("pull", "m")

    assert status > 0
    assert err.endswith(
        "org/loras could not be fetched: it has no file c/low.safetensors; it has a/high.safetensors, a/low.safetensors, "
        "b.safetensors\n"
    )


def findings(tmp_path: Path) -> list[Finding]:
    with reading(Settings(models=tmp_path / "models.yaml", data=tmp_path / "data")) as system:
        return list(doctor.weights(system.registries.poll().models, system.weights))


def test_the_doctor_advises_a_pull(run: Run, tmp_path: Path) -> None:
    far, there = findings(tmp_path)

    assert (far.level, far.message) == (
        Level.WARN, "m needs the files of its adapter far, which are not on this machine",
    )  # fmt: skip
    assert far.advice == "fetch them with 'framegate pull m', or set 'download: true' in its entry"
    assert there.message == "there, or fetched when needed: m"


def test_the_doctor_names_unreadable_files(run: Run) -> None:
    out = run("doctor")[1]

    assert "models.m.adapters.gguf" in out
    assert "models.m.adapters.gone" in out


def test_the_doctor_names_adapters_that_others_may_change(run: Run, tmp_path: Path) -> None:
    with reading(Settings(models=tmp_path / "models.yaml", data=tmp_path / "data")) as system:
        (model,) = system.registries.poll().models
    assert list(doctor.safe_files(model, tmp_path.stat().st_uid)) == []
    (tmp_path / "near.safetensors").chmod(0o666)
    (found,) = doctor.safe_files(model, tmp_path.stat().st_uid)

    assert (found.level, found.message) == (Level.WARN, f"everybody may change {tmp_path}/near.safetensors")


def test_a_reload_names_changed_adapters(run: Run, tmp_path: Path) -> None:
    run("reload")
    (tmp_path / "models.yaml").write_text(MODELS.replace("gone: ./gone", "noir:\n      gone: ./near"))
    said = run("reload")[1]

    assert "models: changed m (adapters: added noir; changed gone (source))" in said
