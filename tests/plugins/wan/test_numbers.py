"""Numbers that are not finite end a job; one flat colour is a warning."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exports
from support.driving import I2V, T2V, TI2V, load, picture, run, spec, task, video
from support.tiny import make_clip_i2v

from plugins.wan.generate.flat_colour import FlatColour
from plugins.wan.load import Loaded
from registry import Modality, ModelSpec
from router import JobCancelled, NumericalError, Task

pytestmark = pytest.mark.slow

NAN, INFINITY, HUGE = float("nan"), float("inf"), 1e30
SHORT = task(steps=4, num_frames=5)
PLACES = {  # where the output of a part shows its damage: the part among those loaded, and a weight of it
    "text encoder": ("text_encoder", "final_layer_norm.weight"),
    "image encoder": ("image_encoder", "layers.0.mlp.fc2.bias"),
    "VAE encoder": ("vae", "encoder.conv_out.bias"),
    "transformer": ("transformer", "proj_out.bias"),
    "transformer_2": ("transformer_2", "proj_out.bias"),
    "VAE decoder": ("decoder", "decoder.conv_out.bias"),
}
COMMON = ("text encoder", "transformer", "VAE decoder")
CLIP = "i2v-clip"
MODALITIES = {T2V: Modality.T2V, I2V: Modality.I2V, TI2V: Modality.TI2V, CLIP: Modality.I2V}
STOCK: dict[str, object] = {"fast": False}
PICTURE: dict[str, object] = {"image": picture()}
MADE: dict[str, tuple[str, dict[str, object], dict[str, object], tuple[str, ...]]] = {
    # model, options, how it is asked, and its parts
    "t2v": (T2V, {}, {}, (*COMMON, "transformer_2")),
    "t2v-stock": (T2V, STOCK, {}, (*COMMON, "transformer_2")),
    "image": (T2V, {}, {"num_frames": 1}, COMMON),
    "i2v": (I2V, {}, PICTURE, (*COMMON, "VAE encoder", "transformer_2")),
    "i2v-stock": (I2V, STOCK, PICTURE, (*COMMON, "VAE encoder")),
    "ti2v": (TI2V, {}, PICTURE, (*COMMON, "VAE encoder")),
    "ti2v-stock": (TI2V, STOCK, PICTURE, (*COMMON, "VAE encoder")),
    "clip": (CLIP, {}, PICTURE, (*COMMON, "VAE encoder", "image encoder")),
}
EACH = [(name, part) for name, (_, _, _, parts) in MADE.items() for part in parts]
VALUES = {"nan": NAN, "infinity": INFINITY, "huge": HUGE}
# two models by both code paths with each value, the parts of the others with one value each
CASES = [
    (name, part, value)
    for number, (name, part) in enumerate(EACH)
    for value in (VALUES if name in ("clip", "i2v-stock") else [[*VALUES][number % 3]])
]

Subject = tuple[ModelSpec, Loaded, Task]


@pytest.fixture(scope="module")
def subjects(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    """Return a function that loads each of `MADE` once."""
    from router.engine.pool import PartPool

    clip = tmp_path_factory.mktemp("tiny") / CLIP
    make_clip_i2v(clip)
    known: dict[str, Subject] = {}

    def subject(name: str) -> Subject:
        if name not in known:
            called, options, changes, _ = MADE[name]
            model = spec(clip if called == CLIP else family / called, MODALITIES[called], options)
            known[name] = model, load(model, PartPool().share_of(name)), replace(SHORT, **changes)  # type: ignore[arg-type]
        return known[name]

    return subject


@contextmanager
def damaged(loaded: Loaded, part: str, value: float) -> Iterator[None]:
    """Put `value` into one number of a part."""
    holder, suffix = PLACES[part]
    module = loaded.decoder if holder == "decoder" else loaded.parts[holder]
    (weight,) = [weight for name, weight in module.named_parameters() if name.endswith(suffix)]
    kept = weight.data.clone()
    weight.data.view(-1)[0] = value
    loaded.prompts.clear()
    try:
        yield
    finally:
        weight.data.copy_(kept)


@pytest.mark.parametrize(("name", "part", "value"), CASES)
def test_a_damaged_part_is_named(subjects: Callable[[str], Subject], name: str, part: str, value: str) -> None:
    model, loaded, asked = subjects(name)

    with damaged(loaded, part, VALUES[value]), pytest.raises(NumericalError) as raised:
        video(run(model, loaded, asked))

    assert raised.value.message == (
        f"the {part} of {model.name} produced numbers that are not finite, or beyond 1e+06: its weights may be damaged"
    )


@pytest.mark.parametrize("name", MADE)
def test_an_undamaged_model_gives_no_warning(subjects: Callable[[str], Subject], name: str) -> None:
    model, loaded, asked = subjects(name)

    frames = run(model, loaded, asked)
    video(frames)

    assert (frames.warnings, frames.late_warnings()) == ((), ())


def test_a_part_of_an_export_is_named_too(exports: Exports, pool: Any) -> None:
    from plugins import onnx_backend

    made = spec(exports[TI2V], Modality.TI2V)
    model = replace(made, options=onnx_backend.declare_backend().options().load({}))  # type: ignore[misc]
    loaded = onnx_backend.load_model(model, "cpu", pool, lambda *_: None)
    asked = replace(SHORT, image=picture())
    for part in ("text encoder", "VAE encoder", "VAE decoder"):
        with damaged(loaded, part, NAN), pytest.raises(NumericalError, match=f"the {part} of {model.name}"):
            video(run(model, loaded, asked))
    graph = loaded.parts["transformer"]
    bias = graph._weights["model.proj_out.bias"].numpy()  # the session uses it where it is
    bias[0] = NAN

    with pytest.raises(NumericalError, match=f"the transformer of {model.name}"):
        run(model, loaded, asked)


def test_a_prompt_that_is_not_finite_is_not_kept(subjects: Callable[[str], Subject]) -> None:
    model, loaded, asked = subjects("t2v")
    with damaged(loaded, "text encoder", NAN), pytest.raises(NumericalError):
        run(model, loaded, asked)

    assert loaded.prompts.size == 0
    assert len(video(run(model, loaded, asked))) == 5


def test_a_cancelled_job_leaves_a_bad_prompt_to_the_next_one_which_finds_it(subjects: Callable[[str], Subject]) -> None:
    from plugins.diffusers_backend import generate

    model, loaded, asked = subjects("t2v")

    def cancel(done: int, *_: object) -> None:
        if done:  # the prompts are encoded
            raise JobCancelled("cancelled")

    with damaged(loaded, "text encoder", NAN), pytest.raises(JobCancelled):
        generate(model, loaded, asked, cancel)
    with pytest.raises(NumericalError, match="the text encoder"):
        run(model, loaded, asked)

    assert len(video(run(model, loaded, asked))) == 5


def test_an_overflow_of_fp16_inside_the_vae_is_seen_and_says_what_helps(subjects: Callable[[str], Subject]) -> None:
    import torch

    model, loaded, asked = subjects("t2v-stock")
    (weight,) = [
        weight for name, weight in loaded.decoder.named_parameters() if name.endswith("decoder.conv_in.weight")
    ]
    kept, placement = weight.data.clone(), loaded.placement
    weight.data.mul_(1e5 / weight.data.abs().max())  # finite in fp32, where the norms make it small again
    frames = run(model, loaded, asked)
    assert len(video(frames)) == 5
    weight.data.copy_(kept).mul_(6e4 / kept.abs().max())
    loaded.decoder.half()
    loaded.placement = replace(placement, decoder_dtype=torch.float16)

    try:
        with pytest.raises(NumericalError, match=r"the VAE decoder .* too large for fp16: bf16 and fp32 hold larger"):
            video(run(model, loaded, asked))
    finally:
        loaded.decoder.float()
        weight.data.copy_(kept)
        loaded.placement = placement


def test_a_video_of_one_colour_is_a_warning_that_comes_late(subjects: Callable[[str], Subject]) -> None:
    model, loaded, asked = subjects("t2v")
    last = {name: weight for name, weight in loaded.decoder.named_parameters() if "decoder.conv_out" in name}
    kept = {name: weight.data.clone() for name, weight in last.items()}
    for weight in last.values():
        weight.data.zero_()

    frames = run(model, loaded, asked)
    early = frames.late_warnings()
    made = video(frames)
    for name, weight in last.items():
        weight.data.copy_(kept[name])

    assert (early, made.std()) == ((), 0)
    assert frames.late_warnings() == (
        "every frame is one flat colour (red 128, green 128, blue 128): unless that was asked for, the model's weights "
        "may be damaged",
    )


def test_the_colour_of_frames_is_one_to_two_levels() -> None:
    flat = np.full((4, 32, 48, 3), (10, 200, 0), np.uint8)
    for changes, is_flat in (({}, True), ({(3, 31, 47, 1): 202}, True), ({(3, 31, 47, 1): 203}, False)):
        frames = flat.copy()
        for place, value in changes.items():
            frames[place] = value
        seen = FlatColour()
        seen.add(frames[:1])
        seen.add(frames[1:])

        assert bool(seen.warnings()) is is_flat


def test_frames_that_are_each_of_another_colour_are_not_one_colour() -> None:
    seen = FlatColour()
    for level in (0, 2, 3):
        seen.add(np.full((1, 8, 8, 3), level, np.uint8))

    assert seen.warnings() == ()
