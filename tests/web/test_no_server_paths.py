"""No answer and no job's error names a folder of the server."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL
from flask.testing import FlaskClient
from support.patience import until

import router
from bench.tools.layout import T2V, write_model
from router import Backend, Frames, Modality, OutOfMemory, PartPath, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.errors import (
    DiskFull,
    DownloadFailed,
    EngineError,
    GenerationFailed,
    LoadFailed,
    ModelUnavailable,
    NumericalError,
)
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

WHOLE = "diffusion_pytorch_model.safetensors"
OURS = (LoadFailed, DownloadFailed, GenerationFailed, OutOfMemory, NumericalError, DiskFull, EngineError)
CODE = Path(router.__file__).parents[1]


class Faulty:
    """A backend that fails at a chosen step and names every known folder."""

    def __init__(self) -> None:
        self.where, self.error = "", Exception()

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("faulty", frozenset({Modality.T2V}))

    @hookimpl
    def check_request(self) -> None:
        self._fail("check_request")

    @hookimpl
    def load_model(self) -> object:
        self._fail("load_model")
        return 1

    @hookimpl
    def describe_loaded(self) -> dict[str, PartPath]:
        return {"whole": PartPath("slow", str(self.error))}

    @hookimpl
    def generate(self, task: Any) -> Frames:
        self._fail("generate")

        def pixels() -> Any:
            self._fail("pixels")
            import numpy as np

            yield np.zeros((5, 64, 64, 3), np.uint8)

        return Frames(pixels(), 5, 64, 64, 8, warnings=(f"note that {self.error}",))

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise self.error


def roots(tmp_path: Path) -> tuple[str, ...]:
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    return (str(tmp_path), str(Path.home()), sys.prefix, packages, str(CODE))


def everything(tmp_path: Path) -> str:
    """Return a message with every folder, as a library might raise it."""
    folders = (*roots(tmp_path), str(tmp_path / "data"), "/usr/lib/x86_64-linux-gnu")
    return "; ".join(f"{folder}/a.bin, '{folder}/b c/d.bin', {folder}" for folder in folders)


def hold(text: str, tmp_path: Path) -> None:
    """Fail where an answer has a folder in it."""
    for root in (*roots(tmp_path), "/usr/lib"):
        assert root not in text, (root, text)


@pytest.fixture
def faulty() -> Faulty:
    return Faulty()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    settings.models.write_text(f"models: {{m: {{backend: faulty, modality: t2v, {SMALL}}}}}")
    return settings


@pytest.fixture
def system(settings: Settings, faulty: Faulty) -> System:
    return assemble(settings, plugins=[encoder, faulty])


@pytest.mark.parametrize("where", ["load_model", "generate", "pixels"])
@pytest.mark.parametrize("kind", [*OURS, OSError, RuntimeError, FileNotFoundError])
def test_a_failed_job_names_none(
    client: FlaskClient, system: System, faulty: Faulty, where: str, kind: type[Exception], tmp_path: Path
) -> None:
    faulty.where, faulty.error = where, kind(everything(tmp_path))
    made = client.post("/v1/responses", json={"input": "a", "background": True}).get_json()["id"]
    Worker(system, "cpu").run_one()
    job = made.removeprefix("resp_")
    answers = [
        client.get(path).text
        for path in (f"/v1/responses/{made}", f"/v1/videos/video_{job}", f"/v1/videos/video_{job}/content", "/v1/videos", "/v1/models")
    ]  # fmt: skip

    assert '"failed"' in answers[0]
    if issubclass(kind, OURS):
        assert "a.bin" in answers[0]  # files are named
    for text in answers:
        hold(text, tmp_path)


@pytest.mark.parametrize("kind", [ModelUnavailable, EngineError, RuntimeError])
def test_a_policy_that_fails_names_none(
    client: FlaskClient, faulty: Faulty, kind: type[Exception], tmp_path: Path
) -> None:
    faulty.where, faulty.error = "check_request", kind(everything(tmp_path))
    answer = client.post("/v1/responses", json={"input": "a"})

    assert answer.status_code >= 500
    hold(answer.text, tmp_path)


def test_the_log_has_what_was_hidden(
    client: FlaskClient, faulty: Faulty, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.where, faulty.error = "check_request", ModelUnavailable(f"{tmp_path}/a.bin is gone")

    assert client.post("/v1/responses", json={"input": "a"}).get_json()["error"]["message"] == "a.bin is gone"
    assert f"{tmp_path}/a.bin is gone" in caplog.text


def test_warnings_and_reasons_of_a_backend_name_none(
    client: FlaskClient, worker: Worker, faulty: Faulty, tmp_path: Path
) -> None:
    faulty.error = Exception(everything(tmp_path))
    made = client.post("/v1/responses", json={"input": "a"})
    until(lambda: '"slow"' in client.get("/v1/models").text)  # once the engine has said so
    models = client.get("/v1/models")

    assert made.get_json()["status"] == "completed"
    assert "note that a.bin" in made.text
    for text in (made.text, models.text):
        hold(text, tmp_path)


def pointer(folder: Path) -> None:
    (folder / "transformer" / WHOLE).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def no_json(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def no_part(folder: Path) -> None:
    os.rename(folder / "vae", folder / "gone")


def a_folder_for_a_file(folder: Path) -> None:
    os.remove(folder / "vae" / WHOLE)
    (folder / "vae" / WHOLE).mkdir()


def nothing(folder: Path) -> None:
    os.rename(folder, folder.with_name("gone"))


def a_file(folder: Path) -> None:
    nothing(folder)
    folder.write_text("a")


def a_loop(folder: Path) -> None:
    os.remove(folder / "vae" / WHOLE)
    (folder / "vae" / WHOLE).symlink_to(WHOLE)


def nonsense(folder: Path) -> None:
    (folder / "transformer" / "config.json").write_text('{"num_attention_heads": "many"}')


BREAKS = (pointer, no_json, no_part, a_folder_for_a_file, nothing, a_file, a_loop, nonsense)


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("modality", ["", "modality: t2v, "])
def test_a_broken_folder_is_named_by_its_model(settings: Settings, broken: Any, modality: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "srv" / "models" / "bad", T2V)
    broken(folder)
    good = f"good: {{backend: still, modality: t2v, {SMALL}}}"
    settings.models.write_text(f"models: {{bad: {{backend: diffusers, {modality}source: '{folder}'}}, {good}}}")
    client = create_app(assemble(settings, plugins=[encoder])).test_client()
    answers = [
        client.get("/v1/models"),
        client.post("/v1/responses", json={"model": "bad", "input": "a", "background": True}),
    ]

    assert "bad" in answers[1].text
    for answer in answers:
        hold(answer.text, tmp_path)


def test_a_broken_plugin_is_named_by_its_name(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"raise OSError({str(tmp_path / 'a' / 'b')!r})")
    settings.models.write_text(f"models: {{m: {{backend: mine, modality: t2v, {SMALL}}}}}")
    system = assemble(replace(settings, plugins=(tmp_path / "mine.py",)), plugins=[encoder])
    client = create_app(system).test_client()
    answers = [client.get("/v1/models"), client.post("/v1/responses", json={"model": "m", "input": "a"})]

    assert answers[1].get_json()["error"]["message"].endswith("the plugin mine could not be loaded")
    for answer in answers:
        hold(answer.text, tmp_path)


def test_a_graph_that_is_none_is_named_by_its_part(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from plugins.onnx_backend.session import open_session

    graph = tmp_path / "transformer" / "model.onnx"
    for content in (None, b"", b"none"):
        if content is not None:
            graph.parent.mkdir(exist_ok=True)
            graph.write_bytes(content)
        with pytest.raises(LoadFailed, match=r"cannot run model\.onnx of transformer") as failed:
            open_session(graph, {}, "cpu", "cpu")
        assert str(tmp_path) not in failed.value.message
