"""Models larger than their GPU: the same frames, and correct sizes in the pool."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marshmallow import ValidationError
from support.driving import I2V, T2V, TI2V, load, picture, run, spec, task, video

from plugins import diffusers_backend as backend
from registry import Input, Modality
from router import LoadFailed
from router.engine.pool import PartPool

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

OFFLOAD = {"group_offload": True}
WITH_IMAGE = {"image": picture(), "input_kinds": frozenset({Input.TEXT, Input.IMAGE})}


@pytest.mark.parametrize(
    ("name", "modality", "given"),
    [(T2V, Modality.T2V, {}), (I2V, Modality.I2V, WITH_IMAGE), (TI2V, Modality.TI2V, WITH_IMAGE)],
)
def test_the_frames_are_the_same(family: Path, name: str, modality: Modality, given: dict[str, Any]) -> None:
    made = []
    for options in ({"fast": {"transformer": False}}, OFFLOAD):  # what visits the device runs by diffusers' own forward
        model = spec(family / name, modality, options)
        loaded = load(model, PartPool().share_of("m"))
        made += [video(run(model, loaded, task(**given))) for _ in range(2)]

    assert all(np.array_equal(made[0], other) for other in made[1:])


def test_clip_takes_part(tiny: Path) -> None:
    made = []
    for options in ({"fast": {"transformer": False}}, OFFLOAD):
        model = spec(tiny / "i2v-clip", Modality.I2V, options)
        made.append(video(run(model, load(model, PartPool().share_of("m")), task(**WITH_IMAGE))))

    assert np.array_equal(*made)


def test_it_is_another_part_than_one_that_stays_on_the_device(family: Path) -> None:
    pool = PartPool()
    plain, waiting = (
        load(spec(family / T2V, Modality.T2V, options), pool.share_of(str(options))) for options in ({}, OFFLOAD)
    )

    for name in ("transformer", "transformer_2", "text_encoder"):
        if name in plain.parts:
            assert waiting.parts[name] is not plain.parts[name], name
    assert waiting.decoder is plain.decoder
    assert waiting.parts["tokenizer"] is plain.parts["tokenizer"]


def test_two_models_share_what_waits(family: Path) -> None:
    pool = PartPool()
    first, second = (
        load(spec(family / name, modality, OFFLOAD), pool.share_of(name))
        for name, modality in ((T2V, Modality.T2V), (TI2V, Modality.TI2V))
    )

    assert first.parts["text_encoder"] is second.parts["text_encoder"]
    assert np.array_equal(*[video(run(spec(family / T2V, Modality.T2V, OFFLOAD), first, task())) for _ in range(2)])


def test_a_model_that_is_larger_than_the_budget_loads(whole_family: Path) -> None:
    whole = PartPool()
    load(spec(whole_family / T2V, Modality.T2V), whole.share_of("m"))
    small = whole.size * 2 // 3
    with pytest.raises(LoadFailed, match="its budget for weights is"):
        load(spec(whole_family / T2V, Modality.T2V), PartPool(budget=lambda: small).share_of("m"))
    pool = PartPool(budget=lambda: small, warm_budget=2**40)

    loaded = load(spec(whole_family / T2V, Modality.T2V, OFFLOAD), pool.share_of("m"))

    assert pool.size <= small
    blocks = loaded.parts["transformer"].blocks
    block = sum(parameter.nbytes for parameter in blocks[0].parameters())
    rest = sum(parameter.nbytes for parameter in loaded.parts["transformer"].parameters()) - len(blocks) * block
    tables = sum(table.nbytes for table in loaded.parts["transformer"].buffers())
    assert loaded.parts["transformer"].nbytes == tables + rest + 2 * block


def test_what_waits_on_the_host_is_not_kept_there_for_a_later_model(family: Path) -> None:
    pool = PartPool(warm_budget=2**40)
    load(spec(family / T2V, Modality.T2V, OFFLOAD), pool.share_of("m"))
    text_encoder = next(key for key in pool.holders() if "UMT5EncoderModel" in str(key))

    assert pool.release("m")

    assert text_encoder not in pool.holders()
    assert pool.warm_models() == ()


def test_the_option_is_true_or_false() -> None:
    schema: Any = backend.declare_backend().options()

    assert schema.load({})["group_offload"] is False
    with pytest.raises(ValidationError):
        schema.load({"group_offload": "yes"})
