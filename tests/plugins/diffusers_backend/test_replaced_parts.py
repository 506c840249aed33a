"""Files of parts that are replaced while their model is in an engine's memory."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from safetensors.torch import load_file  # noqa: E402
from support import weight_files  # noqa: E402
from support.driving import T2V  # noqa: E402
from support.patience import until  # noqa: E402

from nano.family import link_family  # noqa: E402
from plugins import diffusers_backend  # noqa: E402
from router import Job  # noqa: E402
from router.engine import encoder  # noqa: E402
from router.engine.worker import Worker  # noqa: E402
from router.settings import Settings  # noqa: E402
from router.system import System, assemble  # noqa: E402
from router.web import create_app  # noqa: E402

MODELS = """models:
  q: {{backend: diffusers, source: {source}, options: {{fast: {{compile: false}}}}, parts: {{transformer: {file}}},
      defaults: {{width: 32, height: 32, num_frames: 5, steps: 1, negative_prompt: ''}}}}
"""


def made(system: System, worker: Worker) -> Job:
    """Return the finished job of a fixed request."""
    body = {"model": "q", "input": "a", "background": True, "provider_options": {"video": {"seed": 1}}}
    answer = create_app(system).test_client().post("/v1/responses", json=body).get_json()
    worker.run_one()
    job = system.jobs.get(answer["id"].removeprefix("resp_"), "local")
    assert job is not None
    assert job.artifact is not None, job.error
    return job


@pytest.mark.parametrize("reloaded", [False, True])
def test_an_answer_names_the_formats_of_the_weights_that_made_its_video(tmp_path: Path, reloaded: bool) -> None:
    link_family(tmp_path / "nano")
    source = tmp_path / "nano" / T2V
    state = load_file(source / "transformer" / "diffusion_pytorch_model.safetensors")
    file, other = (
        weight_files.write_gguf(tmp_path / f"{kind}.gguf", weight_files.original_transformer(state), kind=kind)
        for kind in ("Q8_0", "Q4_0")
    )
    models = tmp_path / "models.yaml"
    models.write_text(MODELS.format(source=source, file=file))
    system = assemble(Settings(data=tmp_path / "data", models=models), plugins=[encoder, diffusers_backend])
    worker = Worker(system, "cpu")
    before = made(system, worker)

    other.replace(file)
    if reloaded:
        system.registries.reload()
        until(lambda: system.registries.poll().revision == system.registries._store.newest())
    after = made(system, worker)

    assert before.numerics is not None
    assert after.numerics is not None
    assert before.artifact is not None
    assert after.artifact is not None
    same_video = before.artifact.sha256 == after.artifact.sha256
    assert same_video == (before.numerics.lossy == after.numerics.lossy)
