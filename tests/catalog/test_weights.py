"""Folders of weights, their completeness, and downloads from a hub."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.hub import COMMIT, Hub

from bench.tools.layout import Kind, write_model
from registry import Defaults, FlowShift, Limits, Modality, ModelSpec
from registry.folders import missing
from router.catalog.weights import Weights
from router.errors import DownloadFailed, ModelUnavailable
from router.values import Backend

ROOT = Path(__file__).parents[2]
DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "diffusers", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)


def weights_in(data: Path) -> Weights:
    diffusers = Backend("diffusers", frozenset(Modality), index="model_index.json")
    return Weights(data, {"diffusers": diffusers, "other": Backend("other", frozenset(Modality))})


def repository(folder: Path) -> Path:
    """Make a model folder with a sharded transformer of 280 kB, and unwanted files."""
    write_model(folder, Kind(heads=8, ffn=256, shards=2))
    (folder / "transformer" / "pickle.bin").write_bytes(b"evil")
    (folder / "code.py").write_text("print('evil')")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub("org/far", repository(tmp_path / "repo"))
    yield hub
    hub.close()


def run(code: str, hub: Hub, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run code in its own process: the hub's client reads its environment once."""
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120)


FETCH = """
from pathlib import Path
from router.catalog.download import snapshot
seen = []
print(snapshot("org/far", {revision!r}, lambda done, total: seen.append((done, total))))
print(seen[-1])
"""


def test_a_folder_is_whole_or_names_what_it_lacks(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m")
    here = replace(MODEL, source=str(folder))
    weights = weights_in(tmp_path)
    assert (weights.state(here), weights.locate(here), missing(folder)) == ("here", folder, None)
    (folder / "transformer" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()

    assert weights.state(here) == "incomplete"
    with pytest.raises(
        ModelUnavailable,
        match=r"which are not whole \(diffusion_pytorch_model-00002-of-00002.safetensors of transformer is missing\)",
    ):
        weights.check(here)


def test_an_interrupted_download_is_not_whole(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m")
    for path in (folder / "transformer").iterdir():
        if path.name != "config.json":
            path.unlink()

    needed = "transformer needs diffusion_pytorch_model.safetensors, or shards and their index, got none"
    assert missing(folder) == needed


def test_a_backend_with_another_layout_takes_any_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    model = replace(MODEL, backend="other", source=str(tmp_path / "mine"))

    assert weights_in(tmp_path).state(model) == "here"
    assert weights_in(tmp_path).state(replace(model, backend="diffusers")) == "unsuited"


def test_the_files_of_a_repository_are_found_without_a_look_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "models--me--tuned"
    for folder in ("refs", "snapshots/0123", "snapshots/4567"):
        (cached / folder).mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123")
    far = replace(MODEL, source="me/tuned")
    weights = weights_in(tmp_path)

    assert weights.snapshot(far) == cached / "snapshots" / "0123"
    assert weights.snapshot(replace(far, revision="4567")) == cached / "snapshots" / "4567"
    assert weights.snapshot(replace(far, revision="89")) is None
    assert weights.snapshot(replace(MODEL, source=str(tmp_path / "mine"))) == tmp_path / "mine"


def test_a_process_looks_ahead_for_what_the_cache_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    far, weights = replace(MODEL, source="me/tuned"), weights_in(tmp_path)
    assert weights.look_ahead([MODEL, far]) is None  # nothing is here, and the client is not needed to know
    (tmp_path / "hub" / "models--me--tuned").mkdir(parents=True)
    looking = weights.look_ahead([MODEL, far])

    assert looking is not None
    looking.join(60)
    assert not looking.is_alive()


def test_a_link_to_nothing_is_a_missing_file(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m")
    (folder / "transformer" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    (folder / "transformer" / "diffusion_pytorch_model-00002-of-00002.safetensors").symlink_to("../blobs/gone")

    assert missing(folder) == "diffusion_pytorch_model-00002-of-00002.safetensors of transformer is missing"


def test_a_part_without_files_is_missing(tmp_path: Path) -> None:
    folder = repository(tmp_path / "m")
    for path in (folder / "transformer").iterdir():
        path.unlink()

    assert missing(folder) == "the folder transformer is empty"


@pytest.mark.parametrize("source", ["/no/such/folder", "nobody/nothing-of-the-kind"])
def test_weights_that_are_nowhere_are_unavailable(tmp_path: Path, source: str) -> None:
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        weights_in(tmp_path).check(replace(MODEL, source=source))


def test_weights_that_may_be_fetched_are_no_reason_to_refuse(tmp_path: Path) -> None:
    weights_in(tmp_path).check(replace(MODEL, source="nobody/nothing-of-the-kind", download=True))


def test_what_may_not_be_fetched_is_not_fetched_by_an_engine_either(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="framegate pull m"):
        weights_in(tmp_path).obtain(replace(MODEL, source="nobody/nothing-of-the-kind"), lambda done, total: None)


@pytest.mark.slow
@pytest.mark.parametrize("revision", [None, "v1", COMMIT])
def test_a_model_comes_from_the_hub_at_its_revision_and_without_code(
    hub: Hub, tmp_path: Path, revision: str | None
) -> None:
    fetched = run(FETCH.format(revision=revision), hub, tmp_path)

    assert fetched.returncode == 0, fetched.stderr
    folder, seen = fetched.stdout.split("\n", 1)
    assert folder.endswith(COMMIT)
    assert missing(Path(folder)) is None
    assert not {"code.py", "transformer/pickle.bin"} & set(hub.asked)
    done, total = eval(seen)
    assert done == total > 200_000


@pytest.mark.slow
def test_an_unknown_revision_is_a_download_that_failed(hub: Hub, tmp_path: Path) -> None:
    failed = run(FETCH.format(revision="v9"), hub, tmp_path)

    assert "DownloadFailed: org/far could not be fetched: the hub has no revision v9 of it" in failed.stderr


@pytest.mark.slow
def test_a_snapshot_that_lost_a_file_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    folder = Path(run(FETCH.format(revision=None), hub, tmp_path).stdout.split("\n")[0])
    (folder / "transformer" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    code = "from router.catalog.download import cached\nprint(cached('org/far', None))\n" + FETCH.format(revision=None)
    lines = run(code, hub, tmp_path).stdout.split("\n")

    assert lines[:2] == ["None", str(folder)]
    assert missing(folder) is None


@pytest.mark.slow
def test_the_cache_answers_where_a_model_is(hub: Hub, tmp_path: Path) -> None:
    code = FETCH.format(revision=None) + "from router.catalog.download import cached\nprint(cached('org/far', None))\n"
    lines = run(code, hub, tmp_path).stdout.split("\n")

    assert lines[0] == lines[2]


def test_what_does_not_suit_its_backend_is_refused_even_where_it_may_be_fetched(tmp_path: Path) -> None:
    class Cached(Weights):
        def _folder(self, model: ModelSpec) -> Path:
            return tmp_path

    needs = Backend("exported", frozenset({Modality.T2V}), index="export.json", made_by="make it")
    weights = Cached(tmp_path / "data", {"exported": needs})
    model = replace(MODEL, backend="exported", source="some/repository", download=True)

    assert weights.state(model) == "unsuited"
    with pytest.raises(ModelUnavailable, match=r"in a folder with export.json, .*: 'make it' makes such a folder"):
        weights.check(model)
    with pytest.raises(DownloadFailed, match="'make it' makes such a folder"):
        weights.obtain(model, lambda done, total: None)


def test_the_backends_that_could_run_a_folder_are_named_its_own_first(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.json").write_text("{}")
    kinds = frozenset({Modality.T2V})
    backends = [Backend("a", kinds, index="a.json"), Backend("b", kinds, index="b.json"), Backend("mine", kinds)]
    weights = Weights(tmp_path, {backend.name: backend for backend in backends})
    model = replace(MODEL, source=str(tmp_path / "model"), backend="mine")

    assert weights.engines(model) == ("mine", "a")
    assert weights.engines(replace(model, backend="a")) == ("a",)
    assert weights.engines(replace(model, source=str(tmp_path / "nowhere"))) == ()
