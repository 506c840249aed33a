"""The files of replaced parts: states, advice, and downloads without the others' weights."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from support.hub import Hub, use
from support.part_files import put_apart
from support.patience import until

from bench.tools.layout import Kind, write_model
from registry import Defaults, FlowShift, Limits, Modality, ModelSpec, folders, part_files
from registry.parts import PartFile, PartFiles
from router.catalog.weights import Weights
from router.errors import DownloadFailed, ModelUnavailable
from router.values import Backend

DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "diffusers", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)
REPO, FILE = "org/far", "split/t.safetensors"
OF_HUB = {"transformer": PartFile(REPO, FILE)}


def weights_in(data: Path) -> Weights:
    kinds = frozenset(Modality)
    backends = [Backend("diffusers", kinds, index="model_index.json"), Backend("onnx", kinds, index="export.json")]
    return Weights(data, {backend.name: backend for backend in backends})


def model(source: Path | str, parts: PartFiles, download: bool = False) -> ModelSpec:
    return replace(MODEL, source=str(source), parts=parts, download=download)


def ignore(done: int, total: int) -> None:
    return


def base(folder: Path, file: Path) -> Path:
    """Write a model folder whose transformer lies in a file of its own."""
    put_apart(write_model(folder, Kind(heads=8, ffn=256)), "transformer", file)
    return folder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return weights_in(tmp_path / "data")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a model with a sharded transformer, and another file of it."""
    folder = base(tmp_path / "repo", tmp_path / "repo" / FILE)
    write_model(tmp_path / "whole", Kind(heads=8, ffn=256, shards=2))
    shutil.copytree(tmp_path / "whole" / "transformer", folder / "transformer", dirs_exist_ok=True)
    hub = Hub(REPO, folder)
    use(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.close()


# Files on this machine


def test_a_file_replaces_the_weights_of_the_folder(tmp_path: Path, weights: Weights) -> None:
    file = tmp_path / "t.safetensors"
    served = model(base(tmp_path / "base", file), {"transformer": PartFile(str(file))})

    assert (weights.state(served), weights.locate(served)) == ("here", tmp_path / "base")
    assert weights.find(served) == weights.obtain(served, ignore) == tmp_path / "base"
    assert weights.state(replace(served, parts={})) == "incomplete"


def test_a_model_without_one_of_its_files_names_it(tmp_path: Path, weights: Weights) -> None:
    file = tmp_path / "t.safetensors"
    served = model(base(tmp_path / "base", file), {"transformer": PartFile(str(file))}, download=True)
    states, reasons = [], []
    for content in (file.read_bytes()[:-1], None):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        states.append(weights.state(served))
        with pytest.raises(ModelUnavailable) as refused:
            weights.check(served)
        with pytest.raises(DownloadFailed, match=str(refused.value).replace("(", r"\(").replace(")", r"\)")):
            weights.obtain(served, ignore)
        reasons.append(refused.value.message)

    assert states == ["incomplete", "incomplete"]
    assert reasons[0].startswith("m needs weights from base and t.safetensors, which are not whole (t.safetensors of")
    assert reasons[1] == (
        "m needs weights from base and t.safetensors, which are not whole (t.safetensors of transformer is missing): "
        "every file of them is needed there"
    )
    assert str(tmp_path) not in "".join(reasons)


def test_no_other_backend_runs_a_model_with_replaced_weights(tmp_path: Path, weights: Weights) -> None:
    file = tmp_path / "t.safetensors"
    served = model(base(tmp_path / "base", file), {"transformer": PartFile(str(file))})
    (tmp_path / "base" / "export.json").write_text("{}")

    assert weights.engines(served) == ("diffusers",)
    assert weights.engines(replace(served, parts={})) == ("diffusers", "onnx")


# The hub's cache


def test_a_file_of_the_hub_is_missing_until_its_snapshot_has_it(tmp_path: Path, weights: Weights) -> None:
    snapshot = tmp_path / "hub" / "models--org--far" / "snapshots" / "0123"
    served = model(tmp_path / "base", OF_HUB)
    assert weights.state(served) == "missing"
    base(tmp_path / "base", tmp_path / "t.safetensors")
    assert weights.state(served) == "incomplete"
    with pytest.raises(ModelUnavailable) as refused:
        weights.check(served)
    weights.check(replace(served, download=True))
    (snapshot / FILE).parent.mkdir(parents=True)
    shutil.move(tmp_path / "t.safetensors", snapshot / FILE)

    assert refused.value.message == (
        "m needs weights from base and org/far, which are not whole (t.safetensors of transformer is missing): fetch "
        "them with 'framegate pull m', or set 'download: true' in its entry"
    )
    assert weights.state(served) == "here"


def test_a_download_helps_no_folder_that_lacks_more(tmp_path: Path, weights: Weights) -> None:
    folder = base(tmp_path / "base", tmp_path / "t.safetensors")
    served = model(folder, OF_HUB, download=True)
    assert weights.is_fetchable(served)
    (folder / "text_encoder" / "model.safetensors").unlink()

    assert not weights.is_fetchable(served)
    assert not weights.is_fetchable(model(tmp_path / "nowhere", OF_HUB))
    assert weights.is_fetchable(model("org/base", OF_HUB))
    assert not weights.is_fetchable(model("org/base", {"vae": PartFile(str(tmp_path / "no.safetensors"))}))


# Downloads


@pytest.mark.slow
def test_the_weights_of_a_replaced_part_are_never_asked_for(hub: Hub, tmp_path: Path) -> None:
    weights = weights_in(tmp_path)
    served = model(REPO, OF_HUB, download=True)
    seen: list[tuple[int, int]] = []
    folder = weights.obtain(served, lambda done, total: seen.append((done, total)))

    assert folder is not None
    assert (weights.state(served), weights.locate(served)) == ("here", folder)
    assert folders.missing(folder, part_files.paths(OF_HUB)) is None
    assert FILE in hub.asked
    assert not [path for path in hub.asked if path.startswith("transformer/") and path.endswith(".safetensors")]
    assert seen[-1][0] == seen[-1][1]
    asked = len(hub.asked)
    assert weights.state(model(REPO, {})) == "incomplete"  # the repository's own weights are not here
    weights.obtain(model(REPO, {}, download=True), ignore)
    assert [path for path in hub.asked[asked:] if not path.startswith("transformer/")] == []
    assert weights.state(model(REPO, {})) == weights.state(served) == "here"


@pytest.mark.slow
def test_a_file_comes_alone_for_a_folder_that_is_here(hub: Hub, tmp_path: Path) -> None:
    weights = weights_in(tmp_path / "data")
    served = model(base(tmp_path / "base", tmp_path / "t.safetensors"), OF_HUB, download=True)
    hub.slow = {FILE}
    thread = Thread(target=weights.obtain, args=(served, ignore), daemon=True)
    thread.start()
    until(lambda: weights.state(served) in ("downloading 49 %", "downloading 50 %"))  # of an odd number
    hub.go.set()
    thread.join(60)

    assert (weights.state(served), hub.asked) == ("here", [FILE])


@pytest.mark.slow
def test_an_interrupted_file_is_resumed(hub: Hub, tmp_path: Path) -> None:
    size = os.path.getsize(hub.folder / FILE)
    weights = weights_in(tmp_path / "data")
    served = model(base(tmp_path / "base", tmp_path / "t.safetensors"), OF_HUB, download=True)
    hub.cut = {FILE: size // 2}
    weights.obtain(served, ignore)

    assert hub.ranges_of(FILE) == [0, size // 2]
    assert part_files.path(OF_HUB["transformer"]).read_bytes() == (hub.folder / FILE).read_bytes()


@pytest.mark.slow
def test_a_repository_without_the_file_says_what_it_has(hub: Hub, tmp_path: Path) -> None:
    served = model(REPO, {"vae": PartFile(REPO, "no.gguf")}, download=True)
    with pytest.raises(DownloadFailed, match=r"it has no file no\.gguf; it has split/t\.safetensors, text_encoder/"):
        weights_in(tmp_path).obtain(served, ignore)

    assert hub.asked == []
