"""Models of single weight files, in the spellings and formats that people have."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from registry.parts import PartFile
from router import LoadFailed, Modality, ModelSpec

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

import numpy as np  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from nano.family import link_family  # noqa: E402
from plugins.diffusers_backend.plan import plan  # noqa: E402
from plugins.wan.weights.safetensors import stored_in  # noqa: E402
from registry import folders, part_files  # noqa: E402
from router.engine.parts import size_of  # noqa: E402
from tests.support import driving, weight_files  # noqa: E402

T2V = "wan-nano-t2v"
# that for which the model is made: elsewhere small differences grow
REQUEST = {"negative_prompt": "", "num_frames": 5, "steps": 6, "guidance_scale": 3.0, "flow_shift": 2.0}
SMALL = {"width": 32, "height": 32, "steps": 2}
WEIGHTS = "diffusion_pytorch_model.safetensors"
State = Mapping[str, Any]
Write = Callable[[Path, State], Path]


def safetensors(change: Callable[[State], State]) -> Write:
    return lambda path, state: weight_files.write_safetensors(path.with_suffix(".safetensors"), change(state))


def gguf(kind: str) -> Write:
    return lambda path, state: weight_files.write_gguf(
        path.with_suffix(".gguf"), weight_files.original_transformer(state), kind=kind
    )


def in_bf16(state: State) -> State:
    return {name: tensor.bfloat16() for name, tensor in state.items()}


original = weight_files.original_transformer
SOURCES: Mapping[str, Write] = {
    "Wan's names": safetensors(original),
    "ComfyUI's names, bf16": safetensors(lambda state: original(in_bf16(state), "model.diffusion_model.")),
    "fp8": safetensors(lambda state: original(weight_files.plain_fp8(state))),
    "fp8 scaled": safetensors(lambda state: original(weight_files.comfy_scaled_fp8(state))),
    "fp8 quantised": safetensors(lambda state: weight_files.comfy_quantised(original(state))),
    "int8 by rows": safetensors(lambda state: weight_files.rowwise(original(state))),
    **{kind: gguf(kind) for kind in ("F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")},
}


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    link_family(folder)
    return folder / T2V


@pytest.fixture(scope="module")
def of_kind(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ModelSpec]:
    """Return a function that makes a model of transformer files of a kind."""
    folder = tmp_path_factory.mktemp("files")

    def make(kind: str, **options: object) -> ModelSpec:
        files = {}
        for part in ("transformer", "transformer_2"):
            path = folder / f"{kind}-{part}"
            found = next(iter(folder.glob(f"{path.name}.*")), None)
            files[part] = PartFile(str(found or SOURCES[kind](path, load_file(nano / part / WEIGHTS))))
        spec = driving.spec(nano, Modality.T2V, {"fast": {"compile": False}, **options})
        return replace(spec, parts=files)

    return make


def dense_copy(model: ModelSpec, nano: Path, folder: Path) -> ModelSpec:
    """Return a model of the same numbers as `model`, plain and in fp32."""
    folder = driving.copy_of(nano, folder)
    found = folders.read(nano, part_files.paths(model.parts))
    for part in model.parts:
        weights = found.parts[part].weights
        assert weights is not None
        target = folder / part / WEIGHTS
        target.unlink()
        save_file({name: each.read().float() for name, each in stored_in(weights).items()}, target)
    return driving.spec(folder, Modality.T2V, {"fast": {"compile": False}})


@pytest.fixture(scope="module")
def made(of_kind: Callable[..., ModelSpec]) -> Callable[[str], tuple[Any, Any]]:
    """Return a function that gives a kind's video, and the loaded model, made once."""
    return cache(lambda kind: video_of(of_kind(kind), **SMALL))


def video_of(model: ModelSpec, **changes: Any) -> tuple[Any, Any]:
    loaded = driving.load(model, driving.KeepingPool())
    return driving.video(driving.run(model, loaded, driving.task(**{**REQUEST, **changes}))), loaded


def psnr(one: Any, other: Any) -> float:
    error = float(((one.astype(float) - other.astype(float)) ** 2).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_makes_the_video_of_the_numbers_that_it_stands_for(
    kind: str, of_kind: Any, made: Any, nano: Path, tmp_path: Path
) -> None:
    video, loaded = made(kind)
    expected, _ = video_of(dense_copy(of_kind(kind), nano, tmp_path / "dense"), **SMALL)

    assert loaded.paths.now["transformer"].path == "fast"
    assert psnr(video, expected) > 60  # the order of sums differs, and a pixel may be rounded to its neighbour


@pytest.mark.parametrize("kind", SOURCES)
def test_the_planned_bytes_are_those_that_load(kind: str, of_kind: Any, made: Any) -> None:
    _, loaded = made(kind)

    held = size_of(loaded.decoder) + sum(size_of(part) for part in loaded.parts.values() if part is not loaded.decoder)
    planned = plan(of_kind(kind), "cpu")
    assert planned is not None
    assert planned.device_bytes == pytest.approx(held, rel=0.01)
    assert sum(loaded.pool.reserved.values()) == pytest.approx(held, rel=0.01)


@pytest.mark.parametrize("kind", ["fp8 scaled", "int8 by rows", "Q8_0", "Q4_0"])
def test_a_seed_gives_the_same_bytes_again(kind: str, of_kind: Any, made: Any) -> None:
    again, _ = video_of(of_kind(kind), **SMALL)

    assert np.array_equal(made(kind)[0], again)


@pytest.mark.parametrize("kind", ["fp8 scaled", "int8 by rows", "Q5_1"])
def test_dense_weights_are_plain_numbers_of_the_same_video(kind: str, of_kind: Any, made: Any) -> None:
    expected, in_codes = made(kind)
    video, loaded = video_of(of_kind(kind, weights="dense"), **SMALL)

    assert size_of(loaded.parts["transformer"]) > 2 * size_of(in_codes.parts["transformer"])
    assert psnr(video, expected) > 60


@pytest.mark.parametrize(("weights", "least"), [("fp8", 30), ("int8", 40)])
@pytest.mark.parametrize("fast", [True, False])
def test_weights_quantised_while_loading_make_nearly_the_same_video(
    weights: str, least: float, fast: bool, nano: Path
) -> None:
    expected, plain = video_of(driving.spec(nano, Modality.T2V))
    video, loaded = video_of(driving.spec(nano, Modality.T2V, {"weights": weights, "fast": fast}))

    whole, held = (size_of(each.parts["transformer"]) for each in (plain, loaded))
    assert held < 0.37 * whole  # of fp32; norms, tables and embedders stay
    assert psnr(video, expected) > least
    assert psnr(video, expected) < 70  # they are not the plain ones


def test_a_text_encoder_and_a_vae_may_be_files(nano: Path, tmp_path: Path) -> None:
    encoder, vae = load_file(nano / "text_encoder" / "model.safetensors"), load_file(nano / "vae" / WEIGHTS)
    blocks = folders.read(nano).parts["vae"].config["num_res_blocks"]
    files = {
        "text_encoder": weight_files.write_safetensors(
            tmp_path / "umt5.safetensors", weight_files.original_text_encoder(encoder)
        ),
        "vae": weight_files.write_safetensors(
            tmp_path / "vae.safetensors", weight_files.original_vae(vae, blocks, residual=True)
        ),
    }
    plain = driving.spec(nano, Modality.T2V)

    video, _ = video_of(replace(plain, parts={part: PartFile(str(file)) for part, file in files.items()}))

    assert np.array_equal(video, video_of(plain)[0])


@pytest.mark.parametrize("kind", ["fp8", "Q8_0"])
def test_a_text_encoder_in_codes_stays_in_codes(kind: str, nano: Path, tmp_path: Path) -> None:
    encoder = load_file(nano / "text_encoder" / "model.safetensors")
    if kind == "fp8":
        state = weight_files.comfy_text_encoder(weight_files.comfy_scaled_fp8(weight_files.untied(encoder)))
        file = weight_files.write_safetensors(tmp_path / "umt5.safetensors", state)
    else:
        file = weight_files.write_gguf(
            tmp_path / "umt5.gguf", weight_files.llama_cpp_text_encoder(encoder), "t5encoder", kind, tokens=1000
        )
    plain = driving.spec(nano, Modality.T2V)

    video, loaded = video_of(replace(plain, parts={"text_encoder": PartFile(str(file))}))
    expected, whole = video_of(plain)

    assert size_of(loaded.parts["text_encoder"]) < 0.8 * size_of(whole.parts["text_encoder"])
    assert psnr(video, expected) > 25


def test_scales_that_are_not_finite_are_refused(nano: Path, tmp_path: Path) -> None:
    state = dict(weight_files.comfy_scaled_fp8(original(load_file(nano / "transformer" / WEIGHTS))))
    state["blocks.0.ffn.0.scale_weight"] = torch.tensor(float("nan"))
    file = weight_files.write_safetensors(tmp_path / "nan.safetensors", state)
    model = replace(driving.spec(nano, Modality.T2V), parts={"transformer": PartFile(str(file))})

    with pytest.raises(LoadFailed, match=r"nan.safetensors must hold finite scales; those at byte \d+ are not"):
        driving.load(model, driving.KeepingPool())


def test_a_part_is_shared_by_models_of_the_same_form_alone(nano: Path) -> None:
    pool = driving.KeepingPool()
    models = {
        form: driving.load(driving.spec(nano, Modality.T2V, {"weights": form}), pool)
        for form in ("auto", "fp8", "int8", "dense")
    }
    again = driving.load(driving.spec(nano, Modality.T2V, {"weights": "fp8"}), pool)

    assert len({id(each.parts["transformer"]) for each in models.values()}) == 3
    assert models["dense"].parts["transformer"] is models["auto"].parts["transformer"]  # they were plain
    assert again.parts["transformer"] is models["fp8"].parts["transformer"]
    assert models["fp8"].parts["text_encoder"] is models["auto"].parts["text_encoder"]


def test_group_offload_takes_codes(nano: Path) -> None:
    plain, _ = video_of(driving.spec(nano, Modality.T2V, {"weights": "fp8", "fast": False}), **SMALL)
    offloaded, _ = video_of(driving.spec(nano, Modality.T2V, {"weights": "fp8", "group_offload": True}), **SMALL)

    assert psnr(plain, offloaded) > 60


def test_fp8_products_need_weights_in_fp8(nano: Path) -> None:
    with pytest.raises(LoadFailed, match=r"matmul fp8 needs weights in fp8: set weights: fp8"):
        driving.load(driving.spec(nano, Modality.T2V, {"matmul": "fp8"}), driving.KeepingPool())


def test_fp8_products_run_where_the_device_has_them(nano: Path) -> None:
    video, loaded = video_of(driving.spec(nano, Modality.T2V, {"weights": "fp8", "matmul": "fp8"}))
    expected, _ = video_of(driving.spec(nano, Modality.T2V, {"weights": "fp8"}))

    assert loaded.paths.now["transformer"].path == "fast"
    assert 20 < psnr(video, expected) < 60


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
