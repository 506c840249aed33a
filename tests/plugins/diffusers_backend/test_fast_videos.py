"""Whole videos by the fast path, in full or in part, against stock pipelines."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.driving import I2V, T2V, TI2V, arguments, load, picture, run, spec, stock, task, video
from support.likeness import require_same

from registry import Modality
from router import PartPath
from router.engine.parts import size_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "fast",
    [
        True,
        {"transformer": False},
        {"batched_guidance": False},
        {"framewise_time": False, "summed_steps": False},
        {"merged_padding": False, "packed_qkv": False, "short_text": False},
        {"convolution": False, "norm": False, "chunks": False},
    ],
    ids=str,
)
@pytest.mark.parametrize(("name", "modality"), [(I2V, Modality.I2V), (TI2V, Modality.TI2V)])
def test_each_part_may_be_off(family: Any, pool: Any, name: str, modality: Modality, fast: object) -> None:
    asked = task(image=picture())
    model = spec(family / name, modality, {"fast": fast})

    require_same(video(run(model, load(model, pool), asked)), stock(family / name, asked))


@pytest.mark.parametrize("fast", [True, {"batched_guidance": False}, {"merged_padding": False, "packed_qkv": False}])
@pytest.mark.parametrize(
    ("name", "modality", "images"),
    [
        ("i2v-clip", Modality.I2V, {"image": picture(0, 32, 32)}),
        ("flf2v-clip", Modality.FLF2V, {"image": picture(0, 32, 32), "last_image": picture(1, 32, 32)}),
    ],
)
def test_clip_sees_each_image_once_in_a_request(
    tiny: Any, pool: Any, name: str, modality: Modality, images: dict[str, Any], fast: object
) -> None:
    asked, calls = task(width=32, height=32, num_frames=5, **images), list[int]()
    model = spec(tiny / name, modality, {"fast": fast})
    loaded = load(model, pool)
    loaded.parts["image_encoder"].register_forward_pre_hook(lambda *_: calls.append(1))

    require_same(video(run(model, loaded, asked)), stock(tiny / name, asked))
    assert loaded.paths.now == {"transformer": PartPath("fast")}
    assert len(calls) == 1


def test_with_all_of_it_off_the_frames_are_the_stock_pipelines_bit_for_bit(family: Any, pool: Any) -> None:
    from plugins.wan.generate.sample import pipeline

    model, asked = spec(family / T2V, Modality.T2V, {"fast": False}), task()
    loaded = load(model, pool)

    frames = pipeline(loaded, asked)(**arguments(asked)).frames[0]

    assert loaded.paths.networks == {}
    assert np.array_equal(video(run(model, loaded, asked)), (frames * 255).round().astype(np.uint8))


def test_models_with_it_and_without_share_their_parts_and_do_not_disturb_each_other(family: Any, pool: Any) -> None:
    without, using = (spec(family / T2V, Modality.T2V, {"fast": fast}) for fast in (False, True))
    plain = load(without, pool)
    before = video(run(without, plain, task()))
    held = sum(map(size_of, pool.parts.values()))
    quick = load(using, pool)
    video(run(using, quick, task()))

    assert sum(map(size_of, pool.parts.values())) == held
    assert quick.parts["transformer"] is plain.parts["transformer"]
    assert np.array_equal(video(run(without, plain, task())), before)


def test_a_number_of_frames_that_is_rounded_is_rounded_as_the_pipelines_do(family: Any, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    whole, odd = (video(run(model, loaded, replace(task(), num_frames=frames))) for frames in (9, 11))

    assert np.array_equal(whole, odd)
