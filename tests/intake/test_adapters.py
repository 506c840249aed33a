"""The adapters of a request: chosen by name, with their defaults."""

from dataclasses import replace
from typing import Any

import pytest

from registry import Adapter, Defaults, FlowShift, Limits, Modality, ModelSpec, PerExpert
from router.errors import InvalidRequest
from router.intake.adapters import choose
from router.request import AdapterChoice, Options, Request
from router.values import UsedAdapter

FAST = {"steps": 4, "guidance_scale": 1.0, "guidance_scale_2": 1.0, "flow_shift": FlowShift(5.0, 5.0)}
DEFAULTS = Defaults(64, 64, 5, 8, 40, 4.0, 3.0, FlowShift(3.0, 5.0), "")
FAST4 = Adapter("fast4", "./fast4.safetensors", defaults=FAST)
NOIR = Adapter("noir", "./noir.safetensors", strength=PerExpert(0.8, 0.5))
SLOW = Adapter("slow", "./slow.safetensors", defaults={"steps": 50, "num_frames": 9})
ALONE = Adapter("alone", "./alone.safetensors", defaults={"guidance_scale": 2.0})
MODEL = ModelSpec(
    "m", "still", Modality.T2V, DEFAULTS, Limits(9999, 99, 99), 16, experts=2, adapters=(FAST4, NOIR, SLOW, ALONE)
)
MERGED = replace(MODEL, adapters=(NOIR, replace(FAST4, merge=True)))


def asked(*names: str | tuple[str, float, float], **options: Any) -> Request:
    chosen = (
        AdapterChoice(one) if isinstance(one, str) else AdapterChoice(one[0], PerExpert(*one[1:])) for one in names
    )
    return Request("m", "a", options=Options(**options), adapters=tuple(chosen))


def refusal(model: ModelSpec, request: Request) -> str:
    with pytest.raises(InvalidRequest) as refused:
        choose(model, request)
    assert (refused.value.status, refused.value.param) == (400, "provider_options.video.adapters")
    return refused.value.message


def test_without_a_choice_the_default_adapters_are_used() -> None:
    plain = Request("m", "a")

    assert choose(MODEL, plain) == (MODEL, ())
    model, used = choose(replace(MODEL, default_adapters=("noir", "fast4")), plain)
    assert used == (UsedAdapter("noir", 0.8, 0.5), UsedAdapter("fast4"))
    assert model.defaults.steps == 4


def test_an_empty_choice_is_none() -> None:
    usual = replace(MODEL, default_adapters=("fast4",))

    assert choose(usual, asked()) == (usual, ())


def test_the_callers_order_and_strength_hold() -> None:
    _, used = choose(MODEL, asked("slow", ("noir", 2.0, 2.0), ("alone", 3.0, 1.5)))

    assert used == (UsedAdapter("slow"), UsedAdapter("noir", 2.0, 2.0), UsedAdapter("alone", 3.0, 1.5))


def test_an_adapter_at_no_strength_is_not_used_and_brings_no_defaults() -> None:
    assert choose(MODEL, asked(("fast4", 0.0, 0.0))) == (MODEL, ())
    assert choose(MODEL, asked(("fast4", 0.0, 1.0)))[1] == (UsedAdapter("fast4", 0.0, 1.0),)


def test_its_defaults_take_the_place_of_the_models() -> None:
    model, _ = choose(MODEL, asked("fast4"))

    assert model.defaults == replace(DEFAULTS, **FAST)


def test_the_second_expert_follows_an_adapters_guidance() -> None:
    assert choose(MODEL, asked("alone"))[0].defaults == replace(DEFAULTS, guidance_scale=2.0, guidance_scale_2=None)


def test_defaults_that_disagree_are_refused_unless_the_caller_decides() -> None:
    assert refusal(MODEL, asked("fast4", "slow")) == (
        "fast4 and slow bring different defaults for steps: send provider_options.video.steps too"
    )
    model, used = choose(MODEL, asked("fast4", "slow", steps=7))
    assert len(used) == 2
    assert (model.defaults.num_frames, model.defaults.guidance_scale) == (9, 1.0)


def test_seconds_decide_the_number_of_frames() -> None:
    model = replace(MODEL, adapters=(SLOW, replace(SLOW, name="other", defaults={"num_frames": 5})))

    assert "num_frames" in refusal(model, asked("slow", "other"))
    assert len(choose(model, asked("slow", "other", seconds=1.0))[1]) == 2


def test_equal_defaults_agree() -> None:
    model = replace(MODEL, adapters=(FAST4, replace(FAST4, name="other", defaults={**FAST, "steps": 4.0})))

    assert choose(model, asked("fast4", "other"))[0].defaults.steps == 4


def test_a_guidance_for_a_second_expert_means_nothing_with_one() -> None:
    other = replace(FAST4, name="other", defaults={**FAST, "guidance_scale_2": 2.0})

    assert len(choose(replace(MODEL, experts=1, adapters=(FAST4, other)), asked("fast4", "other"))[1]) == 2
    assert "guidance_scale_2" in refusal(replace(MODEL, adapters=(FAST4, other)), asked("fast4", "other"))


def test_an_unknown_name_is_refused_with_the_list() -> None:
    assert refusal(MODEL, asked("fast4", "x")) == "m has no adapter 'x': it has fast4, noir, slow, alone"
    assert refusal(replace(MODEL, adapters=()), asked("x")) == "m has no adapter 'x': it has none"


def test_a_long_list_is_cut() -> None:
    many = replace(MODEL, adapters=tuple(replace(NOIR, name=f"a{n}") for n in range(1000)))

    assert refusal(many, asked("x")).endswith("a18, a19, ...")


def test_a_name_twice_is_refused() -> None:
    assert refusal(MODEL, asked("noir", ("noir", 1.0, 1.0))) == "each adapter may be named once, got 'noir' twice"


def test_one_expert_has_one_strength() -> None:
    single = replace(MODEL, experts=1)

    assert choose(single, asked("noir"))[1] == (UsedAdapter("noir", 0.8, 0.8),)
    assert refusal(single, asked(("noir", 3.0, 1.5))) == (
        "m has one expert: the strength of noir must be one number, got high 3 and low 1.5"
    )


def test_merged_adapters_come_first_and_always() -> None:
    always = UsedAdapter("fast4")

    assert choose(MERGED, Request("m", "a"))[1] == (always,)
    assert choose(MERGED, asked("noir"))[1] == (always, UsedAdapter("noir", 0.8, 0.5))
    assert choose(MERGED, asked("noir", ("fast4", 1.0, 1.0)))[1] == (always, UsedAdapter("noir", 0.8, 0.5))
    assert choose(MERGED, Request("m", "a"))[0].defaults.steps == 4


def test_merged_adapters_stay_as_they_are() -> None:
    assert refusal(MERGED, asked()) == "m always uses fast4: adapters must be left out, or have a name, got []"
    for strength in (0.0, 0.5):
        assert refusal(MERGED, asked(("fast4", strength, strength))) == (
            f"m has fast4 in its weights: its strength must be 1, got {strength:g}"
        )


def test_an_adapter_without_a_file_where_it_has_a_strength_is_not_used() -> None:
    high = replace(FAST4, files=PerExpert("high.safetensors", None))
    model = replace(MODEL, adapters=(high,))

    assert choose(model, asked(("fast4", 0.0, 1.0))) == (model, ())
    assert choose(model, asked(("fast4", 1.0, 0.0)))[1] == (UsedAdapter("fast4", 1.0, 0.0),)
