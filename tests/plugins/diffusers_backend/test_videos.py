"""What the diffusers backend makes, against stock diffusers on toy checkpoints and a CPU."""

import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.driving import I2V, T2V, Reports, copy_of, edit_index, load, make, picture, run, spec, stock, task, video
from support.likeness import require_same

from plugins import diffusers_backend as backend
from registry import Modality
from router import GenerationFailed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def test_importing_the_plugin_loads_no_heavy_library() -> None:
    code = (
        "import sys; import plugins.diffusers_backend as b; b.declare_backend(); "
        "sys.exit(bool({'torch', 'diffusers', 'transformers', 'accelerate', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("folder", "modality", "changes"),
    [
        ("family/wan-nano-t2v", Modality.T2V, {}),
        ("family/wan-nano-t2v", Modality.T2V, {"guidance_scale_2": 2.0}),
        ("family/wan-nano-t2v", Modality.T2V, {"guidance_scale": 1.0}),
        ("family/wan-nano-i2v", Modality.I2V, {"image": picture()}),
        ("family/wan-nano-i2v", Modality.FLF2V, {"image": picture(), "last_image": picture(1)}),
        ("family/wan-nano-ti2v", Modality.TI2V, {}),
        ("family/wan-nano-ti2v", Modality.TI2V, {"image": picture()}),
        ("tiny/i2v-clip", Modality.I2V, {"image": picture()}),
        ("tiny/flf2v-clip", Modality.FLF2V, {"image": picture(), "last_image": picture(1)}),
        ("tiny/ti2v-2.2", Modality.TI2V, {}),
        ("tiny/ti2v-2.2", Modality.TI2V, {"image": picture()}),
    ],
    ids=lambda value: "-".join(value) or "plain" if isinstance(value, dict) else getattr(value, "word", value),
)
def test_frames_are_those_of_the_stock_pipeline(
    family: Path, tiny: Path, pool: Any, folder: str, modality: Modality, changes: dict[str, Any]
) -> None:
    path = {"family": family, "tiny": tiny}[folder.split("/")[0]] / folder.split("/")[1]
    asked = task(**changes)

    made = make(path, modality, asked, pool)

    assert made.shape == (9, 64, 64, 3)
    assert made.dtype == np.uint8
    assert made.std() > 2
    require_same(made, stock(path, asked))


def test_frames_come_one_and_then_four_at_a_time(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    frames = run(model, load(model, pool), task(width=96, height=48))

    assert [chunk.shape for chunk in frames.pixels] == [(1, 48, 96, 3), (4, 48, 96, 3), (4, 48, 96, 3)]
    assert (frames.num_frames, frames.width, frames.height, frames.frames_per_second) == (9, 96, 48, 8)
    assert frames.warnings == ()


def test_a_single_frame_in_a_single_step_is_made(family: Path, pool: Any) -> None:
    assert make(family / T2V, Modality.T2V, task(num_frames=1, steps=1), pool).shape == (1, 64, 64, 3)


def test_the_image_and_the_last_image_change_the_video(family: Path, pool: Any) -> None:
    kinds = (
        (Modality.I2V, {"image": picture()}),
        (Modality.I2V, {"image": picture(2)}),
        (Modality.FLF2V, {"image": picture(), "last_image": picture(1)}),
    )
    made = [make(family / I2V, modality, task(**images), pool) for modality, images in kinds]

    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_a_seed_repeats_bit_for_bit_and_another_one_differs(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)

    first, again, largest = (video(run(model, loaded, task(seed=seed))) for seed in (7, 7, 2**63 - 1))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, largest)


def test_flow_shift_belongs_to_its_request(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)

    before, other, after = (video(run(model, loaded, task(flow_shift=shift))) for shift in (3.0, 12.0, 3.0))

    assert not np.array_equal(before, other)
    assert np.array_equal(before, after)


def test_flow_shift_reaches_the_euler_scheduler_too(family: Path, tmp_path: Path, pool: Any) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    folder = copy_of(family / T2V, tmp_path)
    shutil.rmtree(folder / "scheduler")
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    edit_index(folder, scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])

    low, high = (make(folder, Modality.T2V, task(flow_shift=shift), pool) for shift in (3.0, 12.0))

    assert not np.array_equal(low, high)


@pytest.mark.parametrize(("steps", "shift"), [(20, 100.0), (100, 12.0)])
def test_many_steps_at_a_large_shift_are_made_though_two_timesteps_are_one_number(
    family: Path, pool: Any, steps: int, shift: float
) -> None:
    asked = task(steps=steps, flow_shift=shift, num_frames=5)
    models = [spec(family / T2V, Modality.T2V, {"fast": fast}) for fast in (True, False)]
    loaded = [load(model, pool) for model in models]
    scheduler = loaded[0].schedulers.new(shift)
    scheduler.set_timesteps(steps)

    ours, diffusers = (video(run(model, each, asked)) for model, each in zip(models, loaded, strict=True))

    assert len(set(scheduler.timesteps.tolist())) < steps
    require_same(ours, diffusers)


def test_every_step_is_reported(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    reports = Reports()

    backend.generate(model, load(model, pool), task(), reports)

    progress = [each for each, _ in groupby(reports)]  # the same again only looks whether the job goes on
    assert [each for each in progress if each[0]] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_size_that_the_model_cannot_make_is_refused(tiny: Path, pool: Any) -> None:
    model = spec(tiny / "ti2v-2.2", Modality.TI2V)

    with pytest.raises(GenerationFailed, match="multiples of 32, got 48x64"):
        run(model, load(model, pool), task(width=48))


def test_a_prompt_is_encoded_once(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    calls: list[object] = []
    loaded.parts["text_encoder"].register_forward_pre_hook(lambda *_: calls.append(1))

    first = video(run(model, loaded, task()))
    again = video(run(model, loaded, task()))
    run(model, loaded, task(prompt="snow"))

    assert len(calls) == 3  # the prompt, the negative prompt, the other prompt
    assert np.array_equal(first, again)


def test_cached_prompts_stay_within_their_bytes(family: Path, pool: Any) -> None:
    one = 512 * 128 * 4
    model = spec(family / T2V, Modality.T2V, {"prompt_cache_bytes": 2 * one})
    loaded = load(model, pool)
    calls: list[object] = []
    loaded.parts["text_encoder"].register_forward_pre_hook(lambda *_: calls.append(1))

    for prompt in ("a", "b", "a", "c", "a"):
        run(model, loaded, task(prompt=prompt, guidance_scale=1.0, steps=1))

    assert len(calls) == 3
    assert loaded.prompts.size == 2 * one


def test_no_bytes_for_prompts_means_no_cache(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V, {"prompt_cache_bytes": 0})
    loaded = load(model, pool)

    run(model, loaded, task(steps=1))

    assert loaded.prompts.size == 0


def test_text_beyond_512_tokens_is_said_to_be_cut(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V)
    loaded = load(model, pool)
    long = task(prompt="x" * 600, negative_prompt="y" * 512, steps=1)

    warned = [run(model, loaded, long).warnings for _ in range(2)]

    sentences = (
        f'the prompt has 602 tokens; it is cut to the first 512, after "…{"x" * 40}"',
        f'the negative prompt has 514 tokens; it is cut to the first 512, after "…{"y" * 40}"',
    )
    assert warned == [sentences, sentences]
