"""Cancelled and failed runs of the diffusers backend, and their leftovers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.driving import I2V, T2V, TI2V, Reports, copy_of, load, picture, run, spec, task, video

from plugins import diffusers_backend as backend
from registry import Modality
from router import DeviceLost, JobCancelled, NumericalError, OutOfMemory

pytestmark = pytest.mark.slow


def test_a_cancelled_run_leaves_nothing_behind(family: Path, pool: Any) -> None:
    model = spec(family / I2V, Modality.I2V)
    asked = task(image=picture())
    loaded = load(model, pool)
    clean = video(run(model, loaded, asked))

    with pytest.raises(JobCancelled):
        backend.generate(model, loaded, asked, Reports(stop=2))
    half_decoded = run(model, loaded, asked)
    next(half_decoded.pixels)
    half_decoded.pixels.close()  # type: ignore[attr-defined]

    assert np.array_equal(video(run(model, loaded, asked)), clean)


def test_numbers_that_are_not_finite_are_said_before_decoding(family: Path, tmp_path: Path, pool: Any) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(family / TI2V, tmp_path)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["proj_out.bias"] *= float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    model = spec(folder, Modality.TI2V)

    with pytest.raises(NumericalError, match="the transformer of wan-nano-ti2v produced numbers that are not finite"):
        run(model, load(model, pool), task())


def test_running_out_of_memory_in_a_step_says_what_was_asked_and_the_next_job_runs(family: Path, pool: Any) -> None:
    import torch

    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    clean = video(run(model, loaded, task()))

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    hook = loaded.parts["transformer"].blocks[1].register_forward_pre_hook(exhausted)
    with pytest.raises(OutOfMemory, match=r"making 9 frames of 64x64; ask for fewer frames or a smaller size"):
        run(model, loaded, task())
    hook.remove()

    assert np.array_equal(video(run(model, loaded, task())), clean)


def test_running_out_of_memory_while_decoding_is_said_too(family: Path, pool: Any) -> None:
    import torch

    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)
    frames = run(model, loaded, task())

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    hook = loaded.decoder.decoder.register_forward_pre_hook(exhausted)
    with pytest.raises(OutOfMemory, match="9 frames of 64x64"):
        video(frames)
    hook.remove()

    assert len(video(run(model, loaded, task()))) == 9


def test_running_out_of_memory_while_loading_lets_go_of_what_was_loaded(
    family: Path, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    import torch
    from diffusers import WanTransformer3DModel

    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(WanTransformer3DModel, "load_state_dict", exhausted)
    with pytest.raises(OutOfMemory, match="loading wan-nano-t2v; free memory on it") as raised:
        load(spec(family / T2V, Modality.T2V), pool)
    loaded = [weakref.ref(part) for part in pool.parts.values() if isinstance(part, torch.nn.Module)]
    pool.parts.clear()

    assert raised.value.__traceback__ is not None
    assert [part() for part in loaded] == [None]


def test_a_device_that_fails_for_good_is_lost(family: Path, pool: Any) -> None:
    model = spec(family / TI2V, Modality.TI2V)
    loaded = load(model, pool)

    def failed(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    hook = loaded.parts["transformer"].blocks[1].register_forward_pre_hook(failed)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        run(model, loaded, task())
    hook.remove()


def test_other_errors_are_not_taken_for_memory() -> None:
    from plugins.wan.memory import out_of_memory

    with pytest.raises(RuntimeError, match="shapes"), out_of_memory("doing this", "do that"):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(OutOfMemory, match="doing this; do that"), out_of_memory("doing this", "do that"):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
