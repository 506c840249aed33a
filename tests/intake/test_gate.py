"""The gate, over every modality and every way to fill it."""

from dataclasses import replace
from itertools import combinations

import pytest

from registry import Defaults, FlowShift, Input, Limits, Modality, ModelSpec, Registry, Route
from router.errors import InvalidRequest, ModalityMismatch
from router.intake.availability import Availability
from router.intake.gate import Available, check_frames, choose

DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
T2V = ModelSpec("t2v-model", "still", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)
I2V = replace(T2V, name="i2v-model", modality=Modality.I2V)
TI2V = replace(T2V, name="ti2v-model", modality=Modality.TI2V)
FLF2V = replace(T2V, name="flf2v-model", modality=Modality.FLF2V)
REGISTRY = Registry((T2V, I2V, TI2V, FLF2V), (Route("all", ("t2v-model", "i2v-model", "ti2v-model")),))


def available(*names: str, once_fetched: tuple[str, ...] = ()) -> Available:
    """Say when models can run: all now, or these."""
    known = dict.fromkeys(names, Availability.NOW) | dict.fromkeys(once_fetched, Availability.ONCE_FETCHED)
    return lambda registry: known or {model.name: Availability.NOW for model in registry.models}


ALL = available()
TEXT, IMAGE, BOTH_ENDS = {Input.TEXT}, {Input.TEXT, Input.IMAGE}, set(Input)


@pytest.mark.parametrize(
    ("model", "taken"),
    [(T2V, [TEXT]), (I2V, [IMAGE]), (TI2V, [TEXT, IMAGE]), (FLF2V, [BOTH_ENDS])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_model_takes_what_its_modality_says_and_nothing_else(model: ModelSpec, taken: list[set[Input]]) -> None:
    ways = [set(way) for size in range(4) for way in combinations(Input, size)]

    for kinds in ways:
        if kinds in taken:
            assert choose(model, kinds, REGISTRY, ALL) is model
        else:
            with pytest.raises(ModalityMismatch):
                choose(model, kinds, REGISTRY, ALL)


@pytest.mark.parametrize(("kinds", "name"), [(TEXT, "t2v-model"), (IMAGE, "i2v-model")])
def test_a_route_goes_to_the_first_member_that_takes_the_inputs(kinds: set[Input], name: str) -> None:
    assert choose(REGISTRY.routes[0], kinds, REGISTRY, ALL).name == name


def test_a_route_that_nobody_can_serve_says_what_its_members_are() -> None:
    with pytest.raises(ModalityMismatch) as refused:
        choose(REGISTRY.routes[0], BOTH_ENDS, REGISTRY, ALL)

    assert "t2v-model is text-to-video" in refused.value.message
    assert "flf2v-model would take it" in refused.value.message


@pytest.mark.parametrize(
    ("model", "kinds", "message"),
    [
        (I2V, TEXT, "i2v-model is image-to-video: it needs an image, got text only. "
                    "Of the models served here, t2v-model and ti2v-model would take it"),
        (T2V, IMAGE, "t2v-model is text-to-video: it takes text only, got text and an image. "
                     "Of the models served here, i2v-model and ti2v-model would take it"),
        (FLF2V, IMAGE, "flf2v-model is first-and-last-frame-to-video: it needs a last image, got text and an image. "
                       "Of the models served here, i2v-model and ti2v-model would take it"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_what_was_needed_what_was_got(model: ModelSpec, kinds: set[Input], message: str) -> None:
    with pytest.raises(ModalityMismatch) as refused:
        choose(model, kinds, REGISTRY, ALL)

    assert refused.value.message == message
    assert (refused.value.status, refused.value.param) == (400, "input")


def test_where_nobody_would_take_it_the_refusal_says_so() -> None:
    with pytest.raises(ModalityMismatch, match="None of the models served here would take it"):
        choose(T2V, IMAGE, Registry((T2V,)), ALL)


@pytest.mark.parametrize(
    ("now", "later", "advice"),
    [
        (("ti2v-model",), (), "Of the models served here, ti2v-model would take it"),
        (("ti2v-model",), ("t2v-model",), "Of the models served here, ti2v-model would take it; once fetched, t2v-model would"),
        (("i2v-model",), ("t2v-model", "ti2v-model"),
         "None of the models served here that can run now would take it; once fetched, t2v-model and ti2v-model would"),
        (("i2v-model",), (), "None of the models served here that can run now would take it"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("entry", [I2V, Route("pictures", ("i2v-model", "flf2v-model"))], ids=["model", "route"])
def test_a_refusal_recommends_only_what_can_run(
    entry: ModelSpec | Route, now: tuple[str, ...], later: tuple[str, ...], advice: str
) -> None:
    with pytest.raises(ModalityMismatch) as refused:
        choose(entry, TEXT, REGISTRY, available(*now, once_fetched=later))

    assert refused.value.message.partition(". ")[2] == advice


@pytest.mark.parametrize(
    ("model", "kinds", "taken"),
    [(T2V, TEXT, True), (I2V, IMAGE, True), (TI2V, TEXT, True), (TI2V, IMAGE, False), (FLF2V, BOTH_ENDS, False)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_single_frame_must_leave_the_model_something_to_make(
    model: ModelSpec, kinds: set[Input], taken: bool
) -> None:
    check_frames(model, kinds, 5, "num_frames")
    if taken:
        check_frames(model, kinds, 1, "num_frames")
    else:
        with pytest.raises(InvalidRequest, match="makes 5 frames or more, got 1") as refused:
            check_frames(model, kinds, 1, "num_frames")
        assert refused.value.param == "num_frames"
