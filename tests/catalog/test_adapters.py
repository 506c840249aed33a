"""The files of adapters: states, advice, and downloads of named files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from support.hub import COMMIT, Hub, use
from support.lora import write_lora
from support.patience import until

from bench.tools.layout import write_model
from nano.family import WEIGHTS
from registry import Adapter, Defaults, FlowShift, Limits, Modality, ModelSpec, PerExpert
from registry.known_adapters import KNOWN, KnownAdapter
from router.catalog.download import begun, fetching
from router.catalog.weights import Weights
from router.errors import DownloadFailed, ModelUnavailable
from router.values import Backend, UsedAdapter

ROOT = Path(__file__).parents[2]
DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "diffusers", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)
REPO = "org/loras"
HIGH, LOW, OTHER = "style/high.safetensors", "style/low.safetensors", "other.safetensors"
STYLE = Adapter("style", REPO, PerExpert(HIGH, LOW))
SIZE = 250_000  # numbers of a file


def weights_in(data: Path) -> Weights:
    return Weights(data, {"diffusers": Backend("diffusers", frozenset(Modality), index="model_index.json")})


def model(*adapters: Adapter, download: bool = False) -> ModelSpec:
    return replace(MODEL, adapters=adapters, download=download)


def local(path: Path) -> Adapter:
    return Adapter("style", str(path), PerExpert("", ""))


def ignore(done: int, total: int) -> None:
    return


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return weights_in(tmp_path / "data")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a repository of several adapters to a fresh cache."""
    for name in (HIGH, LOW, OTHER):
        write_lora(tmp_path / "repo" / name, SIZE)
    (tmp_path / "repo" / "config.json").write_text("{}")
    hub = Hub(REPO, tmp_path / "repo")
    use(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.close()


def snapshot_of(cache: Path, repo: str, commit: str, *files: str, main: bool = True) -> Path:
    """Put files into the hub's cache as a snapshot of `repo`."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    for file in files:
        write_lora(folder / "snapshots" / commit / file)
    if main:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
    return folder / "snapshots" / commit


# Files on this machine


def test_a_local_file_is_here_or_says_what_is_wrong(tmp_path: Path, weights: Weights) -> None:
    path = tmp_path / "style.safetensors"
    style = local(path)
    served = model(style)
    states, reasons = [], []
    for content in (None, b"", b"GGUF" + bytes(99), write_lora(tmp_path / "whole.safetensors").read_bytes()):
        if content is not None:
            path.write_bytes(content)
        states.append(weights.adapter_state(served, style))
        try:
            weights.check_adapters(served, [UsedAdapter("style")])
        except ModelUnavailable as error:
            reasons.append(error.message)

    lack = "m needs the files of its adapter style, which"
    assert states == ["missing", "incomplete", "broken", "here"]
    assert reasons == [
        f"{lack} are not on this machine: 'framegate check' names the paths",
        f"{lack} are not whole (style.safetensors of the adapter style is empty: fetch it again): "
        "'framegate check' names the paths",
        f"{lack} cannot be read: style.safetensors of the adapter style is a GGUF file, which is not read here, only as "
        "a file under `parts` of a model's entry: bring safetensors",
    ]


def test_callers_learn_no_path_of_this_machine(tmp_path: Path, weights: Weights) -> None:
    for content in (None, b"", b"GGUF"):
        if content is not None:
            (tmp_path / "a.safetensors").write_bytes(content)
        with pytest.raises(ModelUnavailable) as caught:
            weights.check_adapters(model(local(tmp_path / "a.safetensors")), [UsedAdapter("style")])
        assert str(tmp_path) not in caught.value.message


def test_each_expert_has_its_own_file_or_none(tmp_path: Path, weights: Weights) -> None:
    write_lora(tmp_path / "l" / "a.safetensors")
    both = Adapter("both", str(tmp_path / "l"), PerExpert("a.safetensors", "b.safetensors"))
    one = Adapter("one", str(tmp_path / "l"), PerExpert(None, "a.safetensors"))
    served = model(both, one)
    assert [weights.adapter_state(served, each) for each in (both, one)] == ["incomplete", "here"]
    write_lora(tmp_path / "l" / "b.safetensors")
    found = weights.obtain_adapters(served, ["both", "one"], ignore)

    assert [each.paths for each in found.adapters] == [
        (tmp_path / "l" / "a.safetensors", tmp_path / "l" / "b.safetensors"),
        (None, tmp_path / "l" / "a.safetensors"),
    ]


def test_only_the_named_adapters_are_obtained(tmp_path: Path, weights: Weights) -> None:
    good, gone = (
        local(write_lora(tmp_path / "good.safetensors")),
        replace(local(tmp_path / "no.safetensors"), name="no"),
    )
    served = model(gone, good)
    found = weights.obtain_adapters(served, ["style"], ignore)

    assert [each.paths for each in found.adapters] == [(None, None), (tmp_path / "good.safetensors",) * 2]
    assert weights.obtain_adapters(served, [], ignore) == served
    weights.check_adapters(served, [UsedAdapter("style")])
    with pytest.raises(DownloadFailed, match="m needs the files of its adapter no, which are not on this machine"):
        weights.obtain_adapters(served, ["style", "no"], ignore)


def test_an_unknown_adapter_is_told_which_there_are(tmp_path: Path, weights: Weights) -> None:
    with pytest.raises(DownloadFailed, match="m has no adapter 'x': it has style"):
        weights.obtain_adapters(model(local(tmp_path)), ["x"], ignore)


@pytest.mark.skipif(not (WEIGHTS / "adapters").exists(), reason="the package has no adapters yet")
@pytest.mark.parametrize("known", [each for each in KNOWN if each.source.startswith("embedded:")], ids=str)
def test_an_embedded_adapter_is_in_the_package(weights: Weights, known: KnownAdapter) -> None:
    adapter = Adapter("mine", known.source, known.files)
    found = weights.obtain_adapters(model(adapter), ["mine"], ignore).adapters[0]

    assert weights.adapter_state(model(adapter), adapter) == "embedded"
    assert found.paths == tuple(WEIGHTS / "adapters" / known.family / str(file) for file in known.files)


# The hub's cache


def test_files_of_the_hub_are_found_in_its_cache(tmp_path: Path, weights: Weights) -> None:
    assert weights.adapter_state(model(STYLE), STYLE) == "missing"
    snapshot_of(tmp_path / "hub", REPO, "0123", HIGH)
    assert weights.adapter_state(model(STYLE), STYLE) == "incomplete"
    folder = snapshot_of(tmp_path / "hub", REPO, "0123", LOW)

    assert weights.adapter_state(model(STYLE), STYLE) == "here"
    assert weights.obtain_adapters(model(STYLE), ["style"], ignore).adapters[0].paths == (folder / HIGH, folder / LOW)


def test_a_newer_snapshot_with_other_files_hides_none(tmp_path: Path, weights: Weights) -> None:
    older = snapshot_of(tmp_path / "hub", REPO, "0123", HIGH, LOW)
    snapshot_of(tmp_path / "hub", REPO, "4567", OTHER)
    pinned = replace(STYLE, revision="4567")

    assert weights.obtain_adapters(model(STYLE), ["style"], ignore).adapters[0].paths[0] == older / HIGH
    assert weights.adapter_state(model(pinned), pinned) == "missing"
    newer = snapshot_of(tmp_path / "hub", REPO, "4567", HIGH, LOW)
    assert weights.obtain_adapters(model(STYLE), ["style"], ignore).adapters[0].paths[0] == newer / HIGH


def test_what_is_not_here_is_advised_or_left_to_the_engine(tmp_path: Path, weights: Weights) -> None:
    advice = (
        "m needs the files of its adapter style, which are not on this machine: fetch them with 'framegate pull m', or set "
        "'download: true' in its entry"
    )
    for refused, error in ((weights.check_adapters, ModelUnavailable), (weights.obtain_adapters, DownloadFailed)):
        used = ([UsedAdapter("style")],) if error is ModelUnavailable else (["style"], ignore)
        with pytest.raises(error) as caught:
            refused(model(STYLE), *used)
        assert str(caught.value) == advice
    weights.check_adapters(model(STYLE, download=True), [UsedAdapter("style")])
    broken = snapshot_of(tmp_path / "hub", REPO, "0123", HIGH, LOW) / LOW
    broken.write_bytes(b"PK\x03\x04" + bytes(99))

    with pytest.raises(
        ModelUnavailable, match="which cannot be read: low\\.safetensors of the adapter style is an archive"
    ):
        weights.check_adapters(model(STYLE, download=True), [UsedAdapter("style")])


# Downloads


@pytest.mark.slow
def test_only_the_files_of_the_adapter_are_fetched(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = weights_in(tmp_path).obtain_adapters(
        model(STYLE, download=True), ["style"], lambda done, total: seen.append((done, total))
    )

    assert sorted(hub.asked) == [HIGH, LOW]
    high, low = found.adapters[0].paths
    assert high is not None
    assert high.parts[-3:] == (COMMIT, "style", "high.safetensors")
    assert (high.read_bytes(), low is not None and low.exists()) == ((hub.folder / HIGH).read_bytes(), True)
    assert seen[-1] == (sum((hub.folder / each).stat().st_size for each in (HIGH, LOW)),) * 2
    weights_in(tmp_path).obtain_adapters(model(STYLE), ["style"], ignore)  # they are here now


@pytest.mark.slow
def test_the_factors_that_peft_keeps_beside_an_adapter_are_fetched_with_it(hub: Hub, tmp_path: Path) -> None:
    for folder in ("style", "elsewhere"):
        (hub.folder / folder).mkdir(exist_ok=True)
        (hub.folder / folder / "adapter_config.json").write_text('{"lora_alpha": 8}')
    found = weights_in(tmp_path).obtain_adapters(model(STYLE, download=True), ["style"], ignore)

    assert sorted(hub.asked) == ["style/adapter_config.json", HIGH, LOW]
    high = found.adapters[0].paths.high
    assert high is not None
    assert high.with_name("adapter_config.json").read_text() == '{"lora_alpha": 8}'


@pytest.mark.slow
def test_a_name_is_no_pattern(hub: Hub, tmp_path: Path) -> None:
    name = "odd [1]*.safetensors"
    for each in (name, "odd 1.safetensors"):
        write_lora(hub.folder / each)
    odd = Adapter("odd", REPO, PerExpert(name, None), revision=COMMIT)
    found = weights_in(tmp_path).obtain_adapters(model(odd, download=True), ["odd"], ignore)

    assert hub.asked == [name]
    assert found.adapters[0].paths.high is not None
    assert found.adapters[0].paths.high.name == name


@pytest.mark.slow
def test_a_repository_without_the_file_says_what_it_has(hub: Hub, tmp_path: Path) -> None:
    plain = Adapter("plain", REPO)
    with pytest.raises(DownloadFailed) as caught:
        weights_in(tmp_path).obtain_adapters(model(plain, download=True), ["plain"], ignore)

    assert str(caught.value) == (
        "org/loras could not be fetched: it has no file pytorch_lora_weights.safetensors; it has "
        "other.safetensors, style/high.safetensors, style/low.safetensors"
    )
    assert hub.asked == []


@pytest.mark.slow
def test_a_download_shows_how_far_it_is(hub: Hub, tmp_path: Path) -> None:
    hub.slow = {HIGH, LOW}
    weights = weights_in(tmp_path)
    thread = Thread(target=weights.obtain_adapters, args=(model(STYLE, download=True), ["style"], ignore), daemon=True)
    thread.start()
    until(lambda: weights.adapter_state(model(STYLE), STYLE) == "downloading 50 %")
    with pytest.raises(
        ModelUnavailable, match=r"which are on their way \(downloading 50 %\): try again when they are here"
    ):
        weights.check_adapters(model(STYLE), [UsedAdapter("style")])
    hub.go.set()
    thread.join(60)

    assert (weights.adapter_state(model(STYLE), STYLE), fetching(REPO)) == ("here", None)


@pytest.mark.slow
def test_without_the_hub_what_is_here_is_used_and_what_is_not_is_said(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_in(tmp_path)
    weights.obtain_adapters(model(STYLE, download=True), ["style"], ignore)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    other = Adapter("other", REPO, PerExpert(OTHER, OTHER))
    served = model(STYLE, other, download=True)

    assert weights.obtain_adapters(served, ["style"], ignore).adapters[0].paths.high is not None
    with pytest.raises(DownloadFailed, match="org/loras could not be fetched"):
        weights.obtain_adapters(served, ["other"], ignore)


@pytest.mark.slow
def test_adapters_of_a_models_own_repository_are_no_model(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(hub.folder)
    write_model(hub.folder)
    write_lora(hub.folder / OTHER)
    weights = weights_in(tmp_path / "data")
    own = Adapter("own", REPO, PerExpert(OTHER, OTHER))
    served = replace(model(own, download=True), source=REPO)
    weights.obtain_adapters(served, ["own"], ignore)

    assert (hub.asked, begun(REPO)) == ([OTHER], True)
    assert (weights.state(served), weights.locate(served)) == ("incomplete", None)
    folder = weights.obtain(served, ignore)
    assert folder is not None
    assert (weights.state(served), weights.adapter_state(served, own)) == ("here", "here")
    assert weights.obtain_adapters(served, ["own"], ignore).adapters[0].paths == (folder / OTHER, folder / OTHER)


STATE = """
import sys
from registry import Adapter
from router.catalog.adapters import state
print(state(Adapter("style", "org/loras")), "huggingface_hub" in sys.modules)
"""


@pytest.mark.slow
def test_the_state_is_known_without_the_client_of_the_hub(tmp_path: Path) -> None:
    environ = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STATE]
    said = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert said.split() == ["missing", "False"]
