"""Expected seconds: of known sizes, of new ones, of new modes, variants and models."""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest

from registry import Adapter, Input, ModelSpec, Size
from registry.families import find
from registry.modality import Modality
from router.accounting.estimates import KnownSize, Measurement, estimate, fitted, mean, typical
from router.accounting.features import Variant, features_of, mode_of, size_of
from router.values import Estimate, EstimateBasis, Task, UsedAdapter, WorkSeconds

TASK = Task("a", "", 832, 480, 81, 16, 10, 5.0, None, 3.0, 1, frozenset({Input.TEXT}))
MEASURED, FITTED, BORROWED = EstimateBasis
STYLE = UsedAdapter("style")


def model_of(name: str = "wan2.1-t2v-1.3b", **changes: object) -> ModelSpec:
    family = find(name)
    assert family is not None
    model = ModelSpec("m", "b", Modality.TI2V, family.defaults, family.limits, family.size_multiple, family=name)
    return replace(model, **changes)  # type: ignore[arg-type]


MODEL = model_of()


def truth(task: Task, model: ModelSpec = MODEL) -> Measurement:
    """Return what a made-up device takes, with twice the attention of the prior."""
    work = features_of(size_of(task), mode_of(task), model.size_multiple)
    step = work.passes * (0.003 + 5e-5 * work.tokens + 1e-8 * work.tokens**2)
    return Measurement(0.1 + 2e-8 * work.image_pixels, step, 0.02 + 1e-7 * work.pixels, 0.05 + 6e-8 * work.pixels)


def known(task: Task, model: ModelSpec = MODEL, took: Callable[[Task], Measurement] = truth) -> KnownSize:
    return KnownSize(Variant.of(model), mode_of(task), size_of(task), took(task))


def sized(width: int, height: int, frames: int, task: Task = TASK) -> Task:
    return replace(task, width=width, height=height, num_frames=frames)


SIZES = [sized(832, 480, 81), sized(832, 480, 33), sized(480, 480, 17), sized(1280, 720, 81), sized(256, 256, 1)]


def total(found: Estimate | None) -> float:
    assert found is not None
    return found.seconds.total


def error(task: Task, found: Estimate | None, model: ModelSpec = MODEL) -> float:
    return abs(total(found) / truth(task, model).seconds(task.steps).total - 1)


def test_nothing_is_expected_without_jobs() -> None:
    assert estimate(MODEL, TASK, []) is None


def test_a_known_size_takes_what_it_took_by_its_steps() -> None:
    found = estimate(MODEL, replace(TASK, steps=30), [*map(known, SIZES)])

    assert found == Estimate(truth(TASK).seconds(30), MEASURED)


def test_a_new_size_follows_from_others() -> None:
    for wanted in SIZES:
        found = estimate(MODEL, wanted, [known(task) for task in SIZES if task is not wanted])
        assert found is not None
        assert found.basis is FITTED
        assert error(wanted, found) < 0.1


@pytest.mark.parametrize("task", SIZES[:4])
def test_one_known_size_is_enough_for_the_others(task: Task) -> None:
    assert max(error(wanted, estimate(MODEL, wanted, [known(task)])) for wanted in SIZES[:4]) < 0.6


def test_more_pixels_frames_or_steps_take_longer() -> None:
    sizes = [*map(known, SIZES[:2])]
    for larger in ([sized(64 * n, 480, 81) for n in range(1, 40)], [sized(832, 480, 4 * n + 1) for n in range(40)]):
        times = [total(fitted(MODEL, task, sizes, FITTED)) for task in larger]
        assert times == sorted(times)
        assert len(set(times)) == len(times)
    steps = [total(estimate(MODEL, replace(TASK, steps=n), sizes)) for n in range(1, 50)]
    assert steps == sorted(steps)


def test_twice_as_slow_jobs_are_expected_to_take_twice_as_long() -> None:
    wanted = sized(640, 640, 49)
    half = [replace_seconds(known(task), 0.5) for task in SIZES]

    once, twice = estimate(MODEL, wanted, half), estimate(MODEL, wanted, [*map(known, SIZES)])
    assert total(twice) == pytest.approx(2 * total(once), rel=1e-3)


def replace_seconds(size: KnownSize, factor: float) -> KnownSize:
    return size._replace(seconds=Measurement(*(factor * each for each in size.seconds)))


def test_without_guidance_a_step_is_one_pass() -> None:
    plain = replace(TASK, guidance_scale=1.0)
    found = estimate(MODEL, plain, [*map(known, SIZES)])

    assert found is not None
    assert found.basis is FITTED
    assert found.seconds.steps == pytest.approx(truth(TASK).seconds(10).steps / 2, rel=0.05)


def test_an_adapter_is_expected_to_take_what_the_mode_without_it_takes_until_it_is_measured() -> None:
    adapted = replace(TASK, adapters=(STYLE,))
    slower = known(replace(SIZES[2], adapters=(STYLE,)), took=lambda task: truth(task)._replace(step=3.0))

    assert total(estimate(MODEL, adapted, [*map(known, SIZES)])) == pytest.approx(
        truth(TASK).seconds(10).total, rel=0.05
    )
    sizes = [*map(known, SIZES), slower]
    assert total(estimate(MODEL, adapted, sizes)) > 3 * total(estimate(MODEL, TASK, sizes))
    assert estimate(MODEL, TASK, sizes) == Estimate(truth(TASK).seconds(10), MEASURED)


def test_images_are_encoded_before_the_first_step() -> None:
    image = replace(TASK, input_kinds=frozenset({Input.TEXT, Input.IMAGE}))
    with_images = [known(replace(task, input_kinds=image.input_kinds)) for task in SIZES[1:]]
    found = estimate(MODEL, image, with_images)

    assert found is not None
    assert found.seconds.text == pytest.approx(truth(image).text, rel=0.15)


def test_a_first_job_with_images_encodes_them_in_half_the_time_of_its_decoding() -> None:
    image = replace(TASK, input_kinds=frozenset({Input.TEXT, Input.IMAGE}))
    found = estimate(MODEL, image, [*map(known, SIZES)])

    assert found is not None
    assert found.seconds.text == pytest.approx(truth(TASK).text + truth(TASK).decode / 2, rel=0.05)
    assert found.seconds.steps == pytest.approx(truth(TASK).seconds(10).steps, rel=0.05)


def test_a_new_variant_is_expected_to_take_what_the_former_one_took() -> None:
    former, now = MODEL, model_of(options=MappingProxyType({"attention": "other"}))
    assert Variant.of(former) != Variant.of(now)
    found = estimate(now, TASK, [known(task, former) for task in SIZES])

    assert found is not None
    assert found.basis is FITTED
    assert error(TASK, found) < 0.1


def test_another_model_lends_its_times_by_the_width_of_its_transformer() -> None:
    large = replace(model_of("wan2.1-t2v-14b"), name="large")
    found = fitted(large, TASK, [*map(known, SIZES)], BORROWED)

    assert found.basis is BORROWED
    assert found.seconds.steps == pytest.approx(truth(TASK).seconds(10).steps * (5120 / 1536) ** 2, rel=0.05)
    assert found.seconds.decode == pytest.approx(truth(TASK).decode, rel=0.05)


def test_the_median_of_each_phase_counts_so_that_a_first_job_that_compiles_does_not() -> None:
    usual = Measurement(1.0, 2.0, 3.0, 4.0)
    slow = Measurement(50.0, 60.0, 70.0, 80.0)

    assert typical([slow]) == slow
    assert typical([slow, usual]) == typical([usual, slow, usual]) == usual


def test_sizes_that_took_no_time_are_expected_to_take_none() -> None:
    nothing = [known(task, took=lambda task: Measurement(0.0, 0.0, 0.0, 0.0)) for task in SIZES[1:]]

    assert total(estimate(MODEL, TASK, nothing)) == 0.0


def test_the_mean_of_several_kinds_has_the_weakest_basis() -> None:
    one = Estimate(WorkSeconds(1.0, 2.0, 3.0, 4.0), MEASURED)
    other = Estimate(WorkSeconds(3.0, 4.0, 5.0, 6.0), BORROWED)

    assert mean([one, other]) == mean([other, one]) == Estimate(WorkSeconds(2.0, 3.0, 4.0, 5.0), BORROWED)
    assert mean([]) is None


def test_a_mode_is_guidance_kinds_of_input_and_adapters_in_any_order() -> None:
    both = replace(TASK, guidance_scale=1.0, input_kinds=frozenset({Input.TEXT, Input.IMAGE}))
    names = [UsedAdapter(name) for name in ("b", "a")]

    assert mode_of(TASK) == "guided text"
    assert mode_of(replace(both, adapters=tuple(names))) == "unguided image,text +a+b"
    assert mode_of(replace(both, adapters=tuple(names[::-1]))) == "unguided image,text +a+b"


def test_a_mode_of_many_adapters_fits_into_its_column_and_is_its_own() -> None:
    many = [tuple(UsedAdapter(f"{n}-{'x' * 50}") for n in range(count)) for count in (8, 9)]
    eight, nine = (mode_of(replace(TASK, adapters=adapters)) for adapters in many)

    assert max(len(eight), len(nine)) <= 256
    assert eight != nine
    assert eight.startswith("guided text ")


def test_the_features_of_a_size_are_those_of_the_transformer_and_of_the_frames() -> None:
    image = features_of(Size(832, 480, 81), "guided image,text", 16)

    assert (image.passes, image.tokens, image.pixels, image.image_pixels) == (
        2,
        52 * 30 * 21,
        832 * 480 * 81,
        832 * 480 * 81,
    )
    assert features_of(Size(832, 480, 81), "unguided text +a", 32).tokens == 26 * 15 * 21
    assert features_of(Size(832, 480, 1), "unguided text", 16).image_pixels == 0


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"name": "other"}, True),
        ({"defaults": replace(MODEL.defaults, steps=3), "priority": 3, "pin": True}, True),
        ({"adapters": (Adapter("a", "./a"),)}, True),
        ({"adapters": (Adapter("a", "./a", merge=True),)}, False),
        ({"backend": "other"}, False),
        ({"source": "./other"}, False),
        ({"revision": "other"}, False),
        ({"options": MappingProxyType({"fast": MappingProxyType({"compile": True})})}, False),
        ({"size_multiple": 32}, False),
    ],
)
def test_a_variant_is_what_changes_the_time(change: dict[str, object], is_same: bool) -> None:
    assert (Variant.of(replace(MODEL, **change)) == Variant.of(MODEL)) is is_same  # type: ignore[arg-type]


def test_a_variant_is_written_and_read_and_its_options_have_no_order() -> None:
    one, other = (
        model_of(options=MappingProxyType(dict(pairs))) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)])
    )

    assert Variant.of(one) == Variant.of(other) == Variant.parse(str(Variant.of(one)))
