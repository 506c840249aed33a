"""`framegate convert`: a model's weights in another format, as a folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry import folders
from registry.parts import PartFile
from router import LoadFailed, Modality

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from nano.family import link_family  # noqa: E402
from plugins.diffusers_backend.convert import Conversion  # noqa: E402
from plugins.wan import checkpoint  # noqa: E402
from plugins.wan.weights.adapters.merge import MergedAdapters  # noqa: E402
from router.engine.parts import size_of  # noqa: E402
from tests.support import driving, weight_files  # noqa: E402

T2V = "wan-nano-t2v"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    link_family(folder)
    return folder / T2V


def convert(model: Any, weights: str, target: Path) -> Path:
    found = checkpoint.read(model.folder, model.parts)
    Conversion(found, MergedAdapters.of(model.adapters), weights).write(target, lambda *_: None)
    return target


def video_of(model: Any) -> tuple[Any, Any]:
    loaded = driving.load(model, driving.KeepingPool())
    return driving.video(driving.run(model, loaded, driving.task())), loaded


@pytest.mark.parametrize("weights", ["fp8", "int8"])
def test_a_converted_folder_makes_the_video_of_weights_quantised_while_loading(
    weights: str, nano: Path, tmp_path: Path
) -> None:
    folder = convert(driving.spec(nano, Modality.T2V), weights, tmp_path / "out")

    video, loaded = video_of(driving.spec(folder, Modality.T2V))
    expected, quantised = video_of(driving.spec(nano, Modality.T2V, {"weights": weights}))

    assert np.array_equal(video, expected)
    assert size_of(loaded.parts["transformer"]) == size_of(quantised.parts["transformer"])
    whole, written = ((each / "transformer" / WEIGHTS).stat().st_size for each in (nano, folder))
    assert written < 0.6 * whole  # of fp16


def test_others_do_not_read_the_codes_as_numbers(nano: Path, tmp_path: Path) -> None:
    from diffusers import WanTransformer3DModel

    folder = convert(driving.spec(nano, Modality.T2V), "fp8", tmp_path / "out")

    with pytest.raises(ValueError, match="framegate"):
        WanTransformer3DModel.from_pretrained(folder / "transformer")


def test_files_of_parts_become_one_folder_that_others_read(nano: Path, tmp_path: Path) -> None:
    from diffusers import WanTransformer3DModel

    encoder = load_file(nano / "text_encoder" / "model.safetensors")
    codes = weight_files.comfy_text_encoder(weight_files.comfy_scaled_fp8(weight_files.untied(encoder)))
    files = {"text_encoder": weight_files.write_safetensors(tmp_path / "umt5.safetensors", codes)}
    for part in ("transformer", "transformer_2"):
        state = weight_files.original_transformer(load_file(nano / part / WEIGHTS))
        files[part] = weight_files.write_gguf(tmp_path / f"{part}.gguf", state, kind="Q8_0")
    parts = {part: PartFile(str(path)) for part, path in files.items()}
    model = replace(driving.spec(nano, Modality.T2V), parts=parts)

    folder = convert(model, "fp32", tmp_path / "out")

    found = folders.read(folder)
    written = found.parts["text_encoder"].weights
    assert written is not None
    assert {each.dtype for each in written.read().values()} <= {"BF16", "F16", "F32"}
    video, _ = video_of(driving.spec(folder, Modality.T2V))
    expected, _ = video_of(replace(model, options={**model.options, "weights": "auto"}))
    assert np.abs(video.astype(int) - expected.astype(int)).max() <= 1
    assert WanTransformer3DModel.from_pretrained(folder / "transformer").dtype is torch.float32


def test_a_converted_folder_may_be_converted_back_to_numbers(nano: Path, tmp_path: Path) -> None:
    fp8 = convert(driving.spec(nano, Modality.T2V), "fp8", tmp_path / "fp8")

    plain = convert(driving.spec(fp8, Modality.T2V), "fp32", tmp_path / "plain")

    config = json.loads((plain / "transformer" / "config.json").read_text())
    assert "quantization_config" not in config
    video, _ = video_of(driving.spec(plain, Modality.T2V))
    expected, _ = video_of(driving.spec(fp8, Modality.T2V))
    assert np.abs(video.astype(int) - expected.astype(int)).max() <= 1


def test_a_target_that_holds_something_is_refused(nano: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")

    with pytest.raises(LoadFailed, match="must be a folder that is new or empty, it holds something"):
        convert(driving.spec(nano, Modality.T2V), "fp8", tmp_path)
