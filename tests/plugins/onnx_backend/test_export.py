"""The folder of `framegate export`: right nodes, right numbers, complete or absent."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Exports
from support import short_family
from support.driving import I2V, T2V, TI2V, copy_of, edit_index, load, run, spec, stock, task, video
from support.likeness import require_same

from registry import Modality
from router import LoadFailed

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from plugins.onnx_backend import record  # noqa: E402
from plugins.onnx_backend.export.folder import Source, export  # noqa: E402
from plugins.onnx_backend.export.graph import empty_transformer, write_graph  # noqa: E402
from plugins.onnx_backend.load import read_transformer  # noqa: E402
from plugins.wan.new_folder import new_folder  # noqa: E402
from plugins.wan.weights.safetensors import layout  # noqa: E402

UNSEEN = [(5, 8, 8), (4, 12, 8), (1, 2, 2), (7, 16, 10), (2, 24, 24)]  # none is (3, 8, 12), the traced one


def quiet(*_: object) -> None:
    """No progress."""


@pytest.mark.parametrize("name", [T2V, I2V, TI2V])
def test_one_forward_is_that_of_diffusers_at_shapes_not_seen_at_export(exports: Exports, name: str) -> None:
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel.from_pretrained(exports[name] / "transformer").requires_grad_(False)
    graph = read_transformer(exports[name] / "transformer", torch.float32, "cpu", "cpu")
    made = torch.Generator().manual_seed(1)
    for shape in UNSEEN:
        latents = torch.randn(1, model.config.in_channels, *shape, generator=made)
        text = torch.randn(1, 512, model.config.text_dim, generator=made)
        time = torch.tensor([432.0])
        if name == TI2V:  # the first frame is given
            frames = torch.full(shape[:1], 432.0)
            frames[0] = 0.0
            time = frames.repeat_interleave(shape[1] * shape[2] // 4)[None]
        expected = model(latents, time, text, return_dict=False)[0]
        (got,) = graph(latents, time, text)

        assert relative(got, expected) < 1e-5, shape


@pytest.mark.parametrize("name", [T2V, I2V, TI2V])
def test_its_folder_is_a_whole_model_for_diffusers_too(family: Path, exports: Exports, pool: Any, name: str) -> None:
    modality = Modality.named(name.rpartition("-")[2])
    asked = task() if modality is Modality.T2V else with_picture()

    first, second = (spec(folder / name, modality) for folder in (family, exports.folder) if exports[name])

    assert (video(run(first, load(first, pool), asked)) == video(run(second, load(second, pool), asked))).all()


def test_the_graph_has_the_operations_that_are_fast(exports: Exports) -> None:
    graph = onnx.load(exports[T2V] / "transformer" / "model.onnx", load_external_data=False)
    count = Counter(node.op_type for node in graph.graph.node)
    blocks = short_family.BLOCKS

    assert count["MultiHeadAttention"] == count["RotaryEmbedding"] == 2 * blocks
    assert count["RMSNormalization"] == 4 * blocks
    assert count["Gemm"] == 10 * blocks + 6
    assert not count.keys() & {"ScatterND", "Softmax", "MatMul", "Cast", "Pow"}
    assert count["Transpose"] == 2  # to tokens and back


def test_the_graph_holds_no_weights_and_nothing_of_this_machine(exports: Exports) -> None:
    folder = exports[T2V] / "transformer"
    data = (folder / "model.onnx").read_bytes()
    graph = onnx.load_from_string(data)
    outside = [tensor for tensor in graph.graph.initializer if tensor.external_data]

    assert {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"} == {
        "diffusion_pytorch_model.safetensors"
    }
    assert sum(tensor.ByteSize() for tensor in graph.graph.initializer if not tensor.external_data) < 300_000
    assert str(Path(__file__).parents[3]).encode() not in data
    onnx.checker.check_model(folder / "model.onnx")


def test_both_experts_have_one_graph_and_weights_of_their_own(exports: Exports) -> None:
    first, second = (exports[I2V] / part for part in ("transformer", "transformer_2"))

    assert (first / "model.onnx").read_bytes() == (second / "model.onnx").read_bytes()
    weights = "diffusion_pytorch_model.safetensors"
    assert (first / weights).read_bytes() != (second / weights).read_bytes()


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_keeps_in_fp32_what_diffusers_keeps(tmp_path: Path, family: Path, dtype: str) -> None:
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    config = json.loads((family / T2V / "transformer" / "config.json").read_text()) | {"num_layers": 1}
    model = empty_transformer({k: v for k, v in config.items() if not k.startswith("_")}, kind)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    shapes = {name: (parameter.dtype, tuple(parameter.shape)) for name, parameter in model.named_parameters()}
    header, placed = layout(tmp_path / "w.safetensors", shapes)
    (tmp_path / "w.safetensors").write_bytes(header + bytes(sum(one.length for one in placed.values())))
    write_graph(model, False, placed, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph
    onnx.checker.check_model(tmp_path / "model.onnx")
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    half = {"bf16": onnx.TensorProto.BFLOAT16, "fp16": onnx.TensorProto.FLOAT16}[dtype]

    assert dtypes["blocks.0.attn1.to_q.weight"] is kind
    assert dtypes["blocks.0.norm2.weight"] is dtypes["scale_shift_table"] is torch.float32
    assert types == {
        "hidden_states": half,
        "timestep": onnx.TensorProto.FLOAT,
        "encoder_hidden_states": half,
        "sample": half,
    }


def test_a_model_that_sees_with_clip_is_exported_too(tmp_path: Path, tiny: Path, pool: Any) -> None:
    require_same_when_exported(tiny / "i2v-clip", tmp_path / "out", pool)


def test_a_clip_of_17_tokens_is_exported_as_it_is(tmp_path: Path, pool: Any) -> None:
    from support.tiny import make_clip_flf2v

    make_clip_flf2v(tmp_path / "flf2v-clip", patch=56)

    require_same_when_exported(tmp_path / "flf2v-clip", tmp_path / "out", pool)


def require_same_when_exported(folder: Path, target: Path, pool: Any) -> None:
    """Fail if the export of a CLIP model, or diffusers' pipeline, makes other frames."""
    from dataclasses import replace

    from plugins import onnx_backend
    from registry import Input

    name = folder.name
    export(Source(folder, name, None), target, "fp32", quiet)
    modality = Modality.I2V if name.startswith("i2v") else Modality.FLF2V
    asked = with_picture()
    if modality is Modality.FLF2V:
        asked = replace(asked, last_image=asked.image[::-1].copy(), input_kinds=asked.input_kinds | {Input.LAST_IMAGE})
    plain = spec(folder, modality)
    graphs = replace(plain, folder=target, options={})
    loaded = onnx_backend.load_model(graphs, "cpu", pool, quiet)

    expected = stock(folder, asked)
    require_same(video(run(plain, load(plain, pool), asked)), expected)
    require_same(video(onnx_backend.generate(graphs, loaded, asked, quiet)), expected)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_encoder(folder: Path) -> None:
    edit_index(folder, image_encoder=[None, None])


def without_its_config(folder: Path) -> None:
    (folder / "image_encoder" / "config.json").unlink()


def of_other_tokens(folder: Path) -> None:
    edit(folder / "image_encoder" / "config.json", patch_size=56)


def of_another_width(folder: Path) -> None:
    edit(folder / "image_encoder" / "config.json", hidden_size=64)


def of_no_patch(folder: Path) -> None:
    edit(folder / "image_encoder" / "config.json", patch_size=0)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_encoder, "transformer has image_dim, so image_encoder must be listed"),
        (without_its_config, "config.json of image_encoder is missing"),
        (of_no_patch, "patch_size of image_encoder must be from 1 to 1048576, got 0"),
        (of_other_tokens, "patch_embedding.weight of image_encoder is 32x3x14x14, its config.json needs 32x3x56x56"),
        (of_another_width, "patch_embedding.weight of image_encoder is 32x3x14x14, its config.json needs 64x3x14x14"),
    ],
)  # fmt: skip
def test_a_clip_that_does_not_fit_is_refused_at_export(
    tmp_path: Path, tiny: Path, damage: Callable[[Path], None], says: str
) -> None:
    folder = copy_of(tiny / "flf2v-clip", tmp_path)
    damage(folder)

    with pytest.raises(LoadFailed, match=says):
        export(Source(folder, "odd", None), tmp_path / "out", "fp32", quiet)

    assert not (tmp_path / "out").exists()


def test_the_record_says_where_it_comes_from_and_lists_every_file(exports: Exports) -> None:
    folder = exports[I2V]
    made = record.read(folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    assert (made.source, made.revision, made.dtype, made.opset) == (f"embedded:{I2V}", None, "fp32", 23)
    assert set(made.files) == files - {record.FILE}
    assert {"torch", "diffusers", "onnx", "onnxscript"} <= set(made.libraries)
    made.verify(folder, lambda path: record.digest(path).sha256)


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, family: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(family / T2V, broken)
    weights = broken / "transformer_2" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])

    with pytest.raises(LoadFailed, match=r"diffusion_pytorch_model.safetensors of transformer_2 is cut short"):
        export(Source(broken, "broken", None), tmp_path / "out", "fp32", quiet)

    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


KILLED = """
import os, signal, sys
from pathlib import Path
from plugins.onnx_backend.export.folder import Source, export
def progress(doing, done, total):
    if doing.startswith("transformer"): os.kill(os.getpid(), signal.SIGKILL)
export(Source(Path(sys.argv[1]), "x", None), Path(sys.argv[2]), "fp32", progress)
"""


def test_an_export_that_is_killed_leaves_nothing_that_looks_complete_and_can_be_done_again(
    tmp_path: Path, family: Path
) -> None:
    target = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(family / T2V), str(target)], cwd=Path(__file__).parents[3], check=False
    )

    assert killed.returncode == -signal.SIGKILL
    (draft,) = tmp_path.iterdir()
    assert re.fullmatch(r"\.out\.\w+\.partial", draft.name)
    assert not list(tmp_path.rglob(record.FILE))
    export(Source(family / T2V, "x", None), target, "fp32", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path, family: Path) -> None:
    (tmp_path / "mine").write_text("precious")

    with pytest.raises(LoadFailed, match="must be a folder that is new or empty, it holds something"):
        export(Source(family / T2V, "x", None), tmp_path, "fp32", quiet)

    assert (tmp_path / "mine").read_text() == "precious"


def test_a_target_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_text("precious")
    monkeypatch.chdir(tmp_path / "here")
    for target, says in (
        (Path(), "must be a folder that is new or empty"),
        (tmp_path / "file", "must be a folder that is new or empty"),
        (tmp_path / "file" / "below", "could not be written: "),
    ):
        with pytest.raises(LoadFailed, match=says):
            export(Source(family / T2V, "x", None), target, "fp32", quiet)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "here"]


def test_an_export_under_way_is_left_alone_and_a_dead_one_is_cleared(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as first:
        with new_folder(tmp_path / "out") as second:
            assert first.exists()
            assert first != second
        shutil.copytree(first, tmp_path / ".out.dead.partial")
    with new_folder(tmp_path / "out"):
        assert not (tmp_path / ".out.dead.partial").exists()


def test_a_link_to_an_empty_folder_is_written_through(
    tmp_path: Path, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.onnx_backend.export.folder.write_graph", lambda *_, path, **others: path.touch())
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    export(Source(family / TI2V, "x", None), tmp_path / "link", "fp32", quiet)

    assert record.read(tmp_path / "disk").dtype == "fp32"
    assert (tmp_path / "disk").stat().st_mode & 0o077  # as other folders, not its maker's alone


def test_weights_of_another_shape_are_refused(tmp_path: Path, family: Path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(family / TI2V, odd)
    config = odd / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"ffn_dim": 640}))

    with pytest.raises(
        LoadFailed, match=r"ffn\.net\.0\.proj\.weight of transformer is 512x128, its config\.json needs 640x128"
    ):
        export(Source(odd, "odd", None), tmp_path / "out", "fp32", quiet)


def with_picture() -> Any:
    from support.driving import picture

    from registry import Input

    return task(image=picture(), input_kinds=frozenset({Input.TEXT, Input.IMAGE}))


def relative(got: Any, expected: Any) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())
