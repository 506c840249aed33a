"""Loading, sharing and refusals of the ONNX Runtime backend, and its devices."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exports
from support.driving import I2V, T2V, TI2V, load, picture, run, spec, task, video
from support.likeness import require_same

from registry import Input, Modality, ModelSpec
from router import LoadFailed, NumericalError, PartPath

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from plugins import onnx_backend as backend  # noqa: E402
from plugins.onnx_backend import record, session  # noqa: E402

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
GRAPH = "transformer/model.onnx"


def graphs(folder: Path, modality: Modality, options: dict[str, object] | None = None) -> ModelSpec:
    checked = backend.declare_backend().options().load(options or {})  # type: ignore[misc]
    return replace(spec(folder, modality), backend="onnxruntime", options=checked)


def opened(model: ModelSpec, pool: Any, device: str = "cpu") -> Any:
    return backend.load_model(model, device, pool, lambda *_: None)


def made(model: ModelSpec, pool: Any, asked: Any) -> np.ndarray:
    return video(backend.generate(model, opened(model, pool), asked, lambda *_: None))


ASKED = {
    "text": (T2V, Modality.T2V, {}),
    "image": (I2V, Modality.I2V, {"image": picture()}),
    "text alone": (TI2V, Modality.TI2V, {}),
    "text and image": (TI2V, Modality.TI2V, {"image": picture()}),
}


@pytest.mark.parametrize("kind", ASKED)
def test_its_videos_are_those_of_diffusers(exports: Exports, family: Path, pool: Any, kind: str) -> None:
    name, modality, images = ASKED[kind]
    asked = task(**images, input_kinds=frozenset({Input.TEXT, Input.IMAGE} if images else {Input.TEXT}))
    plain = spec(family / name, modality)
    expected = video(run(plain, load(plain, pool), asked))
    got = made(graphs(exports[name], modality), pool, asked)

    require_same(got, expected)


def test_an_engine_that_runs_both_backends_holds_text_encoder_and_vae_once(
    exports: Exports, family: Path, pool: Any
) -> None:
    first = load(spec(family / TI2V, Modality.TI2V), pool)
    second = opened(graphs(exports[I2V], Modality.I2V), pool)

    for part in ("text_encoder", "vae", "tokenizer"):
        assert first.parts[part] is second.parts[part], part
    assert first.decoder is second.decoder
    assert first.prompts is second.prompts
    assert first.encoding is second.encoding


def test_an_unloaded_model_lets_go_of_its_parts(exports: Exports, pool: Any) -> None:
    loaded = opened(graphs(exports[T2V], Modality.T2V), pool)
    runs = PartPath("onnxruntime-cpu")
    assert backend.describe_loaded(loaded) == {"transformer": runs, "transformer_2": runs}

    backend.unload_model(loaded, gone=True)

    assert loaded.parts == {}


def edit_record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / record.FILE
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def rewrite(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the graph and the record alike, as an attacker would."""
    graph = onnx.load(folder / GRAPH, load_external_data=False)
    change(graph)
    (folder / GRAPH).write_bytes(graph.SerializeToString())
    stamp(folder, GRAPH)


def stamp(folder: Path, name: str) -> None:
    found = record.digest(folder / name)
    edit_record(folder, lambda data: data["files"].update({name: {"size": found.size, "sha256": found.sha256}}))


def first_outside(graph: Any) -> Any:
    return next(tensor for tensor in graph.graph.initializer if tensor.external_data)


def take_from(location: str) -> Callable[[Path], None]:
    def change(graph: Any) -> None:
        entry = next(entry for entry in first_outside(graph).external_data if entry.key == "location")
        entry.value = location

    return lambda folder: rewrite(folder, change)


def take_from_elsewhere_in_the_file(graph: Any) -> None:
    next(entry for entry in first_outside(graph).external_data if entry.key == "offset").value = "0"


def hide_it_in_a_node(graph: Any) -> None:
    tensor = onnx.TensorProto(name="hidden", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    graph.graph.node.append(onnx.helper.make_node("Constant", [], ["hidden"], value=tensor))


def ask_a_stranger(graph: Any) -> None:
    graph.opset_import.append(onnx.helper.make_opsetid("evil.example", 1))


def shorten(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])


def flip(folder: Path) -> None:
    path = folder / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)


def shorten_and_stamp(folder: Path) -> None:
    shorten(folder)
    stamp(folder, WEIGHTS)


def hide_it_in_a_sparse_tensor(graph: Any) -> None:
    graph.graph.sparse_initializer.add().dims.extend([1])


def lie_about_the_numbers(graph: Any) -> None:
    first_outside(graph).data_type = onnx.TensorProto.FLOAT16


def bring_a_stranger(folder: Path) -> None:
    (folder / "vae" / "more.safetensors").write_bytes(b"weights")


def pickle_instead(part: str) -> Callable[[Path], None]:
    """Replace a part's weights by a pickle, and change the record to match."""

    def change(folder: Path) -> None:
        (weights,) = (folder / part).glob("*.safetensors")
        weights.rename(weights.with_name("pytorch_model.bin"))
        before, after = f"{part}/{weights.name}", f"{part}/pytorch_model.bin"
        edit_record(folder, lambda data: data["files"].update({after: data["files"].pop(before)}))

    return change


def wait_for_a_graph(folder: Path) -> None:
    (folder / GRAPH).unlink()
    os.mkfifo(folder / GRAPH)


def wait_for_a_graph_unlisted(folder: Path) -> None:
    wait_for_a_graph(folder)
    edit_record(folder, lambda data: data["files"].pop(GRAPH))


def hole(name: str) -> Callable[[Path], None]:
    """Replace a file by a sparse one of 300 GB, in the record too."""

    def change(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(300 * 10**9)
        entry = {"size": 300 * 10**9, "sha256": "0" * 64}
        edit_record(folder, lambda data: data["files"].update({name: entry}))

    return change


def garbage(folder: Path) -> None:
    (folder / GRAPH).write_bytes(b"\x00garbage")
    stamp(folder, GRAPH)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "export.json").unlink(), r"export.json is missing; 'framegate export"),
        (lambda f: (f / "export.json").write_text("{"), r"export.json must be JSON in UTF-8, it is not"),
        (lambda f: (f / "export.json").write_text("[]"), r"export.json must hold a JSON object, got list"),
        (
            lambda f: edit_record(f, lambda d: d.update(format=2)),
            r"must be of format 1, it is not: format must be 1, got 2",
        ),
        (
            lambda f: edit_record(f, lambda d: d.update(dtype="int4")),
            r"dtype must be one of fp32, fp16, bf16, got 'int4'",
        ),
        (lambda f: edit_record(f, lambda d: d.pop("files")), r"must be of format 1"),
        (
            lambda f: edit_record(f, lambda d: d["files"].update({"../x": {"size": 1, "sha256": ""}})),
            r"files must lie in the folder, got ../x",
        ),
        (lambda f: (f / WEIGHTS).unlink(), rf"lacks {WEIGHTS}, which its export.json lists"),
        (lambda f: (f / GRAPH).unlink(), rf"lacks {GRAPH}"),
        (lambda f: (f / "vae/config.json").unlink(), r"lacks vae/config.json"),
        (shorten, r"must have \d+ bytes, as its export.json says, got \d+"),
        (flip, r"is not the file that was exported: its SHA-256 must be [0-9a-f]{12}..., .* export the model again"),
        (shorten_and_stamp, r"is cut short: it has [0-9,]+ of [0-9,]+ bytes"),
        (garbage, r"model.onnx of transformer must be an ONNX graph, it cannot be read as one"),
        (take_from("/etc/passwd"), r"must take its data from the weights beside it; .* would come from /etc/passwd"),
        (take_from("../vae/x"), r"would come from ../vae/x at \d+"),
        (lambda f: rewrite(f, take_from_elsewhere_in_the_file), r"from diffusion_pytorch_model.safetensors at 0"),
        (lambda f: rewrite(f, hide_it_in_a_node), r"hidden would come from /etc/passwd"),
        (lambda f: rewrite(f, hide_it_in_a_sparse_tensor), r"must have no sparse tensors"),
        (lambda f: rewrite(f, lie_about_the_numbers), r"must take its data from the weights beside it"),
        (lambda f: (f / "vae" / "model.bin").write_bytes(b"pickle"), r"vae/model.bin is no file that was exported"),
        *(
            (
                pickle_instead(part),
                rf"{part} needs .*, got pytorch_model.bin: pickles can run code",
            )
            for part in ("text_encoder", "transformer", "vae")
        ),
        (bring_a_stranger, r"vae/more.safetensors is no file that was exported: export.json does not list it"),
        (lambda f: edit_record(f, lambda d: d.update(opset="banana")), r"opset must be 23, got 'banana'"),
        (lambda f: edit_record(f, lambda d: d.update(source=[1])), r"source and revision must be text"),
        (lambda f: edit_record(f, lambda d: d.update(libraries={"torch": 2})), r"libraries must be versions by names"),
        (lambda f: edit_record(f, lambda d: d.update(files={})), r"and there must be files"),
        (
            lambda f: edit_record(f, lambda d: d.update(dtype="fp16")),
            r"must take tensor\(float16\), as its export says",
        ),
        (wait_for_a_graph, r"transformer/model.onnx, which its export.json lists"),
        (wait_for_a_graph_unlisted, r"export.json must list transformer/model.onnx, it does not: export the model"),
        (hole(GRAPH), r"transformer/model.onnx must have at most 67,108,864 bytes, it has 300,000,000,000"),
        (hole("vae/config.json"), r"vae/config.json must have at most 67,108,864 bytes, it has 300,000,000,000"),
        (hole(WEIGHTS), r"is nothing but zeros, as a download that was broken off leaves them"),
        (lambda f: rewrite(f, ask_a_stranger), r"operations of ONNX and ONNX Runtime only, it asks for evil.example"),
    ],
)
def test_a_damaged_or_hostile_folder_is_refused_with_what_is_wrong(
    exports: Exports, tmp_path: Path, pool: Any, damage: Callable[[Path], None], says: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exports[T2V], folder)
    damage(folder)

    with pytest.raises(LoadFailed, match=says):
        opened(graphs(folder, Modality.T2V), pool)


def test_libraries_that_are_older_than_those_that_exported_are_named(
    exports: Exports, tmp_path: Path, pool: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exports[T2V], folder)
    opened(graphs(folder, Modality.T2V), pool)
    assert "exported by newer libraries" not in caplog.text

    edit_record(folder, lambda d: d["libraries"].update(torch="99.1.0+cu140", diffusers="0.1.0", away="1.0"))
    opened(graphs(folder, Modality.T2V), pool)

    assert f"{folder} was exported by newer libraries than are here: torch 99.1.0+cu140 (here 2." in caplog.text
    assert "diffusers" not in caplog.text
    assert "away" not in caplog.text


def test_a_graph_for_gpus_says_so_on_a_cpu(exports: Exports, tmp_path: Path, pool: Any) -> None:
    shutil.copytree(exports[T2V], tmp_path / "model")
    edit_record(tmp_path / "model", lambda data: data.update(dtype="bf16"))

    with pytest.raises(LoadFailed, match=r"bf16, which ONNX Runtime runs on GPUs only; .* export it with --dtype fp32"):
        opened(graphs(tmp_path / "model", Modality.T2V), pool)


@pytest.mark.parametrize(
    ("provider", "device", "says"),
    [
        ("cuda", "cpu", "provider cuda needs an engine on a GPU, this one is on cpu"),
        ("tensorrt", "cpu", "provider tensorrt needs an engine on a GPU, this one is on cpu"),
        ("cpu", "cuda:0", "provider cpu needs an engine on the CPU, this one is on cuda:0"),
    ],
)
def test_a_device_is_not_replaced_by_another(provider: str, device: str, says: str) -> None:
    assert session.provider_for("auto", device) == device.partition(":")[0]
    with pytest.raises(LoadFailed, match=says):
        session.provider_for(provider, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_cuda_that_does_not_come_is_a_failed_load(exports: Exports, provider: str) -> None:
    graph = exports[T2V] / GRAPH

    with pytest.raises(
        LoadFailed, match=r"was to run on \w+ExecutionProvider, and this machine lacks CUDA 13 \(lib.*cuDNN 9"
    ):
        session.open_session(graph, {}, provider, "cuda:0", 1)


def test_a_graph_that_onnx_runtime_cannot_run_says_why(exports: Exports, tmp_path: Path) -> None:
    graph = onnx.load(exports[T2V] / GRAPH, load_external_data=False)
    graph.graph.node[0].op_type = "NoSuchOperation"
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())

    with pytest.raises(LoadFailed, match=r"ONNX Runtime cannot run model.onnx of .*NoSuchOperation"):
        session.open_session(tmp_path / "model.onnx", {}, "cpu", "cpu")


SIGNATURE = "Error in execution: CudaCall " + "std::conditional_t<THRW, void, Status> onnxruntime::CudaCall " * 8


@pytest.mark.parametrize(
    ("text", "raised", "brief"),
    [
        ("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer", torch.OutOfMemoryError, "BFC"),
        (SIGNATURE + "CUDA failure 2: out of memory ; GPU=0", torch.OutOfMemoryError, "CUDA failure 2: out of memory"),
        (SIGNATURE + "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED", torch.OutOfMemoryError, "CUDNN failure 4"),
        (SIGNATURE + "CUDA failure 700: an illegal memory access", RuntimeError, "CUDA error: CUDA failure 700"),
        (SIGNATURE + "CUDNN failure 9: CUDNN_STATUS_NOT_SUPPORTED", RuntimeError, "Error in execution"),
    ],
)
def test_errors_of_a_run_become_those_that_torch_has_for_the_same(
    text: str, raised: type[Exception], brief: str
) -> None:
    from plugins.wan.memory import is_device_lost

    with pytest.raises(raised) as found, session.errors_of_torch():
        raise RuntimeError(text)

    assert str(found.value).startswith(brief)
    assert is_device_lost(found.value) is ("failure 700" in text)


def test_numbers_that_are_not_finite_are_said(exports: Exports, pool: Any) -> None:
    model = graphs(exports[T2V], Modality.T2V)
    loaded = opened(model, pool)
    for part in ("transformer", "transformer_2"):
        for value in loaded.parts[part]._weights.values():
            value.numpy()[...] = np.nan

    with pytest.raises(NumericalError, match="transformer of wan-nano-t2v produced numbers that are not finite"):
        backend.generate(model, loaded, task(), lambda *_: None)
