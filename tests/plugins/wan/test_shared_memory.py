"""Several models in one engine: planned memory, used memory, and independence."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exports
from support.driving import I2V, T2V, TI2V, load, picture, run, spec, task, video

from plugins import diffusers_backend, onnx_backend
from registry import Input, Modality
from router import LoadFailed
from router.engine import residency
from router.engine.pool import PartPool
from router.runtime.byte_size import ByteSize
from router.settings import Settings
from router.system import assemble

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from bench.card import checkpoints  # noqa: E402
from plugins.diffusers_backend.load import DiffusersPlacement  # noqa: E402
from plugins.diffusers_backend.options import Options  # noqa: E402
from plugins.wan import checkpoint  # noqa: E402
from plugins.wan.checkpoint import ENCODING  # noqa: E402

KINDS = {T2V: Modality.T2V, I2V: Modality.I2V, TI2V: Modality.TI2V}


def test_the_trio_takes_what_was_reserved_with_one_encoder_and_one_vae(family: Path) -> None:
    pool = PartPool()
    planned: dict[Any, int] = {}
    for name, modality in KINDS.items():
        share = pool.share_of(name)
        reserve = share.reserve
        share.reserve = lambda sizes, reserve=reserve: (planned.update(sizes), reserve(sizes))[1]  # type: ignore[method-assign]
        load(spec(family / name, modality), share)

    transformers = sum(pool.held(name).owned for name in KINDS)
    text, *shared = (pool.held(name).shared for name in KINDS)
    assert sum(planned.values()) == pool.size
    assert pool.size == transformers + shared[0]
    assert shared[0] == shared[1] > text  # what takes no images has no encoder for them
    assert len([key for key in planned if "UMT5EncoderModel" in str(key[0])]) == 1
    assert len([key for key in planned if "AutoencoderKLWan" in str(key[0])]) == 2  # encoder and decoder


def test_shared_parts_are_one_memory_and_not_copies(family: Path) -> None:
    pool = PartPool()
    loaded = {name: load(spec(family / name, modality), pool.share_of(name)) for name, modality in KINDS.items()}

    def addresses(part: Callable[[Any], Any]) -> set[tuple[int, ...]]:
        return {tuple(tensor.data_ptr() for tensor in part(model).parameters()) for model in loaded.values()}

    assert len(addresses(lambda model: model.parts["text_encoder"])) == 1
    assert len(addresses(lambda model: model.decoder)) == 1
    assert len(addresses(lambda model: model.parts["transformer"])) == 3


def test_a_folder_with_the_same_bytes_shares_and_one_with_another_byte_does_not(family: Path, tmp_path: Path) -> None:
    pool = PartPool()
    first = load(spec(family / T2V, Modality.T2V), pool.share_of("first"))
    for name in ("same", "other"):
        shutil.copytree(family / T2V, tmp_path / name)
    path = tmp_path / "other" / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    same, other = (load(spec(tmp_path / name, Modality.T2V), pool.share_of(name)) for name in ("same", "other"))

    assert all(same.parts[part] is first.parts[part] for part in first.parts)
    assert same.decoder is first.decoder
    assert other.decoder is not first.decoder
    assert other.parts["text_encoder"] is first.parts["text_encoder"]


def test_jobs_in_between_change_nothing(family: Path, exports: Exports) -> None:
    """Three models that share parts, interleaved by frames and by jobs."""
    pool = PartPool()
    models = {name: spec(family / name, modality) for name, modality in KINDS.items()}
    alone = {}
    for name, model in models.items():
        alone[name] = video(run(model, load(model, PartPool().share_of(name)), asked(name)))
    loaded = {name: load(model, pool.share_of(name)) for name, model in models.items()}
    graphs = replace(models[T2V], backend="onnxruntime", folder=exports[T2V], options={})
    other = onnx_backend.load_model(graphs, "cpu", pool.share_of("graphs"), lambda *_: None)

    begun = {name: run(models[name], loaded[name], asked(name)).pixels for name in models}
    chunks: dict[str, list[Any]] = {name: [next(pixels)] for name, pixels in begun.items()}
    video(onnx_backend.generate(graphs, other, asked(T2V), lambda *_: None))
    for name, pixels in begun.items():
        chunks[name] += list(pixels)

    for name in models:
        assert np.array_equal(np.concatenate(chunks[name]), alone[name]), name
        assert np.array_equal(video(run(models[name], loaded[name], asked(name))), alone[name]), name


def test_what_comes_back_from_the_host_is_as_it_was(family: Path) -> None:
    pool = PartPool(warm_budget=2**30)
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool.share_of("m"))
    before, parts = video(run(model, loaded, asked(T2V))), dict(loaded.parts)
    pool.release("m")
    diffusers_backend.unload_model(loaded, gone=False)
    assert pool.warm_models() == ("m",)

    again = load(model, pool.share_of("m"))

    assert all(again.parts[part] is parts[part] for part in ("transformer", "vae", "text_encoder"))
    assert np.array_equal(video(run(model, again, asked(T2V))), before)


MODALITIES = {"t2v": Modality.T2V, "i2v": Modality.I2V, "ti2v": Modality.TI2V}


def card(folder: Path, monkeypatch: pytest.MonkeyPatch, **budgets: str) -> PartPool:
    """Return the pool of an engine on an H200: PyTorch sees 139.8 GiB."""
    (folder / "models.yaml").write_text("models: {any: {backend: still, modality: t2v}}")
    monkeypatch.setattr(residency, "memory", lambda device: 150_110_000_000)
    amounts = {name: ByteSize.parse(text) for name, text in budgets.items()}
    system = assemble(Settings(data=folder / "data", models=folder / "models.yaml", **amounts))
    return residency.Residency(system, "cuda:0")._pool


def test_the_whole_of_wan_2_2_fits_an_h200_with_the_documented_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "speed-and-memory.md").read_text()
    (values,) = re.findall(r"`FRAMEGATE_MEMORY_BUDGET=(\S+) FRAMEGATE_ACTIVATION_RESERVE=(\S+)`", page)
    (gigabytes,) = re.findall(r"is planned at (\S+) GB", page)
    pool = card(tmp_path, monkeypatch, memory_budget=values[0], activation_reserve=values[1])
    hold_wan_2_2(pool, tmp_path / "weights")

    assert pool.size / 1e9 == pytest.approx(float(gigabytes), abs=0.05)
    # a key begins with the class and has the modules that are left out third; a tokenizer's has no third
    holders = {(part[0], *part[2:3]): who for part, who in pool.holders().items() if len(who) > 1}
    assert holders["UMT5EncoderModel", ()] == set(MODALITIES)
    assert holders["AutoencoderKLWan", ENCODING] == {"t2v", "i2v"}


def test_the_whole_of_wan_2_2_does_not_fit_an_h200_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoadFailed, match="of 122 GB are taken"):
        hold_wan_2_2(card(tmp_path, monkeypatch), tmp_path / "weights")


def test_folders_of_true_size_take_no_disk(tmp_path: Path) -> None:
    for name, recipe in checkpoints.wan_2_2(toy=False).items():
        checkpoints.write(tmp_path, name, recipe)

    files = [path for path in tmp_path.rglob("*.safetensors") if path.is_symlink()]
    assert sum(path.stat().st_size for path in {path.resolve() for path in files}) > 140e9
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file()) < 20e6


def hold_wan_2_2(pool: PartPool, folder: Path) -> None:
    """Hold the planned bytes of the three models on a GPU, at true size."""
    options = Options.of(spec(folder, Modality.T2V, {"attention": "native"}))
    placement = DiffusersPlacement.of(options, "cuda:0")
    for name, recipe in checkpoints.wan_2_2(toy=False).items():
        share = pool.share_of(name)
        parts = checkpoint.read(checkpoints.write(folder, name, recipe)).pooled(MODALITIES[name])
        sizes = {placement.key(part, share): placement.device_bytes(part) for part in parts}
        share.reserve(sizes)
        for key, size in sizes.items():
            share.part(key, lambda size=size: Sized(size))


class Sized:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def asked(name: str) -> Any:
    if name == T2V:
        return task()
    return task(image=picture(), input_kinds=frozenset({Input.TEXT, Input.IMAGE}))


@pytest.mark.parametrize("name", KINDS)
def test_the_smallest_task_warms_up_all_of_a_model(family: Path, pool: Any, name: str) -> None:
    from router.engine.warm_up import smallest_task

    model = spec(family / name, KINDS[name])
    loaded = load(model, pool)
    called = []
    for part in ("transformer", "transformer_2"):
        if part in loaded.parts:
            loaded.parts[part].register_forward_hook(lambda *_, part=part: called.append(part))

    made = video(
        run(model, loaded, smallest_task(replace(model, experts=len([p for p in loaded.parts if "former" in p]))))
    )

    assert made.shape == (1, 64, 64, 3)
    assert set(called) == {part for part in loaded.parts if part.startswith("transformer")}
