"""Exported models over HTTP beside diffusers', made and served as in docs/models.md."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exports, data_url, with_image
from support.likeness import require_same
from support.server import FRAMEGATE, ROOT, Server

from nano.requests import held_out
from router.media.pixels import to_png

pytestmark = pytest.mark.slow
pytest.importorskip("onnxruntime")

RAW_FRAMES = ROOT / "bench/plugins/raw_frames.py"
PAGE = (ROOT / "docs" / "models.md").read_text()
TRIO = """
models:
  wan-nano-i2v: {source: '%s', backend: diffusers, family: wan-nano-i2v}
  onnx-i2v: {source: '%s', backend: onnxruntime, family: wan-nano-i2v}
  not-exported: {source: 'embedded:wan-nano-t2v', backend: onnxruntime}
"""


def made(server: Server, folder: Path, model: str, what: Any) -> np.ndarray:
    """Return a model's frames before H.264, which hides differences and adds its own."""
    status, answer = server.call("/v1/responses", {"model": model, "input": what, "seed": 7})
    assert status == 200, answer
    return np.asarray(np.load(folder / f"{answer['id'].removeprefix('resp_')}.npy"))


def framegate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FRAMEGATE, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_documented_export_serves_the_same_video_by_both_engines(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("FRAMEGATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_FRAMES", str(tmp_path))
    command = re.search(r"^framegate (export .*)$", PAGE, re.MULTILINE)
    models = re.search(r"^```yaml file=onnx.yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert command is not None
    assert models is not None

    exported = framegate(tmp_path, *command[1].split())
    assert exported.returncode == 0, exported.stderr
    assert "wan-nano-t2v in fp32" in exported.stdout
    (tmp_path / "onnx.yaml").write_text(models[1])
    listed = framegate(tmp_path, "models", "--models", "onnx.yaml").stdout
    server = serve(models[1].replace("./exports", str(tmp_path / "exports")), plugins=RAW_FRAMES)
    by_onnx_runtime, by_diffusers = (
        made(server, tmp_path, name, "a red ball moves to the left") for name in ("wan-nano-t2v-onnx", "wan-nano-t2v")
    )

    assert re.search(r"wan-nano-t2v-onnx .*onnxruntime, diffusers", listed), listed
    assert re.search(r"wan-nano-t2v .*diffusers, onnxruntime", listed), listed
    require_same(by_onnx_runtime, by_diffusers)
    assert by_diffusers.std() > 5


def test_an_image_becomes_a_video_too_and_what_was_not_exported_says_what_to_do(
    tmp_path: Path, family: Path, exports: Exports, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_FRAMES", str(tmp_path))
    server = serve(TRIO % (family / "wan-nano-i2v", exports["wan-nano-i2v"]), plugins=RAW_FRAMES)
    (ask,) = held_out(1, with_image=True)
    content = with_image(ask.prompt, data_url(to_png(ask.image)))
    by_onnx_runtime, by_diffusers = (made(server, tmp_path, name, content) for name in ("onnx-i2v", "wan-nano-i2v"))
    status, refused = server.call("/v1/responses", {"model": "not-exported", "input": "a red ball"})

    require_same(by_onnx_runtime, by_diffusers)
    assert by_diffusers.std() > 5
    assert (status, refused["error"]["code"]) == (503, "model_unavailable")
    assert "'framegate export MODEL -o FOLDER' makes such a folder" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("wan-nano", "-o", "out"), "wan-nano is a route; the models file has wan-nano-t2v"),
        (("nothing", "-o", "out"), "no model is called 'nothing'; the models file has"),
        (("wan2.1-t2v-1.3b", "-o", "out"), "fetch them with 'framegate pull wan2.1-t2v-1.3b'"),
        (("wan-nano-t2v", "-o", "full"), "must be a folder that is new or empty, it holds something"),
        (("wan-nano-t2v", "-o", "out", "--dtype", "int8"), "'int8' is not one of 'fp32', 'fp16', 'bf16'"),
        (("wan-nano-t2v",), "Missing option '-o'"),
    ],
)
def test_an_export_that_cannot_be_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("FRAMEGATE_DATA", str(tmp_path / "data"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("precious")

    ended = framegate(tmp_path, "export", *arguments)

    assert ended.returncode != 0
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_without_weights_has_nothing_to_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "m.yaml").write_text("models: {plain: {backend: still, modality: t2v}}")

    ended = framegate(tmp_path, "export", "plain", "-o", "out", "--models", "m.yaml", "--data", str(tmp_path / "data"))

    assert ended.stderr.strip() == "framegate: plain has no weights, so there is nothing to export"
    assert not (tmp_path / "out").exists()
