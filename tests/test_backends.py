"""Every packaged backend keeps the contract, on each kind of model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Exports
from support.driving import small

from router.plugins import Plugins, find, missing
from router.settings import Settings
from router.system import assemble
from router.testing.contract import CHECKS, ContractBroken, Subject

STILL = """
models:
  still-{word}: {{backend: still, modality: {word}, defaults: {{width: 64, height: 64, num_frames: 17, steps: 8}}}}
"""
MODELS = [f"still-{word}" for word in ("t2v", "i2v", "ti2v", "flf2v")] + [
    pytest.param(f"{kind}-nano-{word}", marks=pytest.mark.slow)
    for kind in ("wan", "onnx")
    for word in ("t2v", "i2v", "ti2v")
]
ONNX = "models: {{{name}: {{backend: onnxruntime, source: '{source}', family: {family}}}}}"


@pytest.fixture(scope="module", params=MODELS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.getbasetemp() / "contract"
    folder.mkdir(exist_ok=True)
    settings = Settings(data=folder)
    if request.param.startswith("onnx"):
        family = request.param.replace("onnx", "wan")
        file = folder / f"{request.param}.yaml"
        exports: Exports = request.getfixturevalue("exports")
        file.write_text(ONNX.format(name=request.param, source=exports[family], family=family))
        settings = replace(settings, models=file)
    if request.param.startswith("still"):
        file = folder / f"{request.param}.yaml"
        file.write_text(STILL.format(word=request.param.removeprefix("still-")))
        settings = replace(settings, models=file)
    system = assemble(settings)
    model = system.registries.poll().find(request.param)
    subject = Subject(system.plugins, replace(model, folder=system.weights.obtain(model, lambda *_: None)), "cpu")
    return subject if request.param.startswith("still") else small(subject)


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_a_backend_keeps_its_contract(subject: Subject, check: Callable[[Subject], None]) -> None:
    check(subject)


def test_every_backend_that_is_found_has_its_contract_tested() -> None:
    assert set(Plugins(find([])).backends) == {"still", "diffusers", "onnxruntime"}


def test_what_our_backends_need_is_installed() -> None:
    assert [missing(backend) for backend in Plugins(find([])).backends.values()] == [(), (), ()]


def test_a_backend_that_breaks_the_contract_is_told_how(tmp_path: Path) -> None:
    plugin = tmp_path / "bad.py"
    plugin.write_text(
        "import numpy as np\nfrom router import Backend, Frames, Modality, hookimpl\n"
        "@hookimpl\ndef declare_backend(): return Backend('bad', frozenset({Modality.T2V}))\n"
        "@hookimpl\ndef load_model(): return 1\n"
        "@hookimpl\ndef generate(task):\n"
        "    return Frames(iter([np.zeros((1, 8, 8, 3), np.uint8)]), task.num_frames, task.width, task.height, task.frames_per_second)\n"
    )
    file = tmp_path / "models.yaml"
    file.write_text("models: {bad: {backend: bad, modality: t2v}}")
    system = assemble(Settings(data=tmp_path / "data", models=file, plugins=(plugin,)))
    subject = Subject(system.plugins, system.registries.poll().find("bad"), "cpu")

    broken = {}
    for check in CHECKS[:2]:
        with pytest.raises(ContractBroken) as found:
            check(subject)
        broken[check.__name__] = found.value.message
    assert "got uint8 of shape (1, 8, 8, 3)" in broken["frames_have_the_size_and_number_of_the_task"]
    assert "must be [(1, 4), (2, 4), (3, 4), (4, 4)], got []" in broken["each_step_is_reported"]
