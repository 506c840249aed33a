"""The command line, without a server."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from router.engine.device import hold

MODELS = """
default: any
models:
  text: {backend: still, modality: t2v, defaults: {width: 64, height: 64, num_frames: 5, steps: 3, negative_prompt: ''}}
  image: {backend: still, modality: i2v, defaults: {width: 64, height: 64, num_frames: 5, steps: 3, negative_prompt: ''}}
  far: {backend: still, modality: t2v, source: some-org/far-away}
routes:
  any: [text, image]
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate ...` in this process; return its status, output and messages."""
    from router.cli.main import main

    (tmp_path / "models.yaml").write_text(MODELS)
    monkeypatch.setenv("FRAMEGATE_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("FRAMEGATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FRAMEGATE_PLUGINS", "")  # options become variables: here they are put back
    monkeypatch.chdir(tmp_path)

    def framegate(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["framegate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said, code = capsys.readouterr(), ended.value.code
        if isinstance(code, str):  # Python prints it at the end of the process, and exits with 1
            return 1, said.out, f"{said.err}{code}\n"
        return code or 0, said.out, said.err

    return framegate


def test_check_counts_what_is_right(run: Run) -> None:
    status, out, _ = run("check")

    assert (status, "3 models, 1 routes, no problem" in out) == (0, True)


def test_check_reports_every_problem_with_its_line(run: Run, tmp_path: Path) -> None:
    bad = (
        "models:\n  a: {backend: nobody, modality: t2v}\n  b: {backend: still}\n  c: {backend: still, modality: t3v}\n"
    )
    (tmp_path / "models.yaml").write_text(bad)
    status, _, err = run("check")

    assert status > 0
    assert [line.split(":")[1] for line in err.splitlines()] == ["2", "3", "4"]


def test_check_holds_a_backend_against_its_contract(run: Run) -> None:
    status, out, _ = run("check", "--contract", "still")

    assert status == 0
    assert out.count(": kept") == 18
    assert "text: each step is reported: kept" in out


def test_check_of_an_unknown_backend_says_which_there_are(run: Run) -> None:
    status, _, err = run("check", "--contract", "nobody")

    assert status > 0
    assert "no backend is called 'nobody'; there are" in err


def test_models_shows_a_table(run: Run) -> None:
    status, out, _ = run("models")

    rows = [line.split() for line in out.splitlines()]
    assert status == 0
    assert rows[0] == ["NAME", "MODALITY", "BACKEND", "WEIGHTS", "STATE", "SOURCE"]
    assert rows[1] == ["text", "t2v", "still", "none", "not", "loaded", "-"]
    assert rows[3] == ["far", "t2v", "still", "missing", "not", "loaded", "some-org/far-away"]
    assert rows[4] == ["any", "(default)", "route", "-", "-", "-", "text,", "image"]


def test_a_gpu_that_is_not_there_is_refused(run: Run) -> None:
    status, _, err = run("serve", "--device", "cuda:63")

    assert (status > 0, "cuda:63 is not there" in err) == (True, True)


def test_pull_has_nothing_to_fetch_for_models_without_a_hub(run: Run) -> None:
    assert "nothing to fetch" in run("pull", "text")[1]


def test_pull_of_an_unknown_model_says_which_there_are(run: Run) -> None:
    status, _, err = run("pull", "nobody")

    assert (status > 0, "no model is called 'nobody'; the models file has any, text, image, far" in err) == (True, True)


def test_a_bad_setting_is_one_clear_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEGATE_THREADS", "many")
    status, _, err = run("models")

    assert status > 0
    assert err == "framegate: FRAMEGATE_THREADS: must be a whole number of at least 1, got 'many'\n"


def test_a_device_that_is_none_is_refused(run: Run) -> None:
    status, _, err = run("serve", "--device", "tpu")

    assert (status > 0, "a device is cpu, cuda:0, cuda:1, ... or all, got 'tpu'" in err) == (True, True)


def test_generate_works_without_a_server(run: Run, tmp_path: Path) -> None:
    status, out, err = run("generate", "a red ball", "-o", "ball.mp4", "--seed", "3", "--url", "embedded")

    assert (status, out.splitlines()[-1]) == (0, "ball.mp4 (seed 3, text)"), err
    assert (tmp_path / "ball.mp4").read_bytes()[4:8] == b"ftyp"


def test_generate_takes_an_image(run: Run, tmp_path: Path) -> None:
    from conftest import png

    (tmp_path / "a.png").write_bytes(png())
    status, out, _ = run("generate", "go", "--image", "a.png", "--num-frames", "1", "--url", "embedded")

    assert (status, out.splitlines()[-1].partition(" ")[0]) == (0, "video.png")
    assert "image)" in out


def test_generate_says_when_no_server_answers(run: Run) -> None:
    status, _, err = run("generate", "go", "--url", "http://127.0.0.1:1")

    assert status > 0
    assert "no server answers at http://127.0.0.1:1: [Errno 111] Connection refused" in err


def test_the_suffix_of_the_file_says_what_to_make(run: Run, tmp_path: Path) -> None:
    status, _, err = run("generate", "a red ball", "-o", "ball.png", "--url", "embedded")
    assert status == 0, err
    assert (tmp_path / "ball.png").read_bytes()[:4] == b"\x89PNG"
    status, _, err = run("generate", "a red ball", "-o", "ball.gif", "--url", "embedded")

    assert (status > 0, "a video is .mp4, an image .png, got ball.gif" in err) == (True, True)


def test_generate_leaves_no_job_where_nobody_can_do_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text(
        "from router import Backend, Modality, hookimpl\n@hookimpl\ndef declare_backend():\n"
        "    return Backend('needy', frozenset({Modality.T2V}), requires=('nowhere_to_be_found',))\n"
    )
    (tmp_path / "models.yaml").write_text(
        "models: {m: {backend: needy, modality: t2v}, n: {backend: still, modality: t2v}}"
    )
    status, _, err = run("generate", "a", "--plugin", "needy.py", "--url", "embedded")
    assert (status > 0, "m cannot run in this Python" in err) == (True, True)
    with hold(tmp_path / "data", "cpu"):
        status, _, err = run("generate", "a", "--model", "n", "--url", "embedded")

    assert (status > 0, "cpu is held by another engine" in err) == (True, True)
    with sqlite3.connect(tmp_path / "data" / "jobs.sqlite") as store:
        assert store.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_generate_says_why_not(run: Run) -> None:
    status, _, err = run("generate", "go", "--model", "image", "--url", "embedded")

    assert status > 0
    assert "image is image-to-video: it needs an image, got text only" in err
