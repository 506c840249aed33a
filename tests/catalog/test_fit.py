"""What fits on a device: budgets, alternatives, the largest videos, models at once."""

from dataclasses import replace

from registry import Defaults, FlowShift, Limits, Modality, ModelSpec, Size
from router.catalog.fit import Budget, advice, verdict
from router.catalog.residents import loadings, shared
from router.runtime.byte_size import ByteSize
from router.settings import Settings
from router.values import Alternative, Plan, PlannedPart

GB = 10**9
DEFAULTS = Defaults(832, 480, 81, 16, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "mine", Modality.T2V, DEFAULTS, Limits(1280 * 720, 121, 9), 16)
BUDGET = Budget(device=20 * GB, weights=18 * GB, host=50 * GB)


def plan(device: float, host: float = 0, frame: float = 0, *others: Alternative, identity: object = None) -> Plan:
    """Return a plan of weights in GB; a frame of 832x480 takes `frame` GB."""

    def activations(width: int, height: int, frames: int) -> int:
        return int(frame * GB * frames * width * height / (832 * 480))

    part = PlannedPart("weights", int(device * GB), int(host * GB), "bf16", identity)
    return Plan((part,), activations=activations, alternatives=others)


def test_a_budget_is_the_share_that_the_settings_give() -> None:
    settings = Settings(memory_budget=ByteSize(50, "%"), activation_reserve=ByteSize.parse("1GB"))

    assert Budget.of(settings, 24 * GB, 10 * GB) == Budget(12 * GB, 11 * GB, 9 * GB)


def test_a_model_that_fits_gets_the_largest_video_of_its_limits() -> None:
    found = verdict(MODEL, plan(10, frame=0.01), BUDGET)

    assert found.fits
    assert (found.size, found.is_smaller) == (Size(1280, 720, 121), False)


def test_the_first_alternative_that_fits_is_chosen() -> None:
    few, fewer = Alternative(plan(19), {"bits": 8}), Alternative(plan(9), {"bits": 4})
    found = verdict(MODEL, plan(38, 0, 0, few, fewer), BUDGET)

    assert (found.fits, found.alternatives) == (False, (fewer,))
    assert found.chosen is fewer.plan


def test_the_job_of_the_default_video_must_fit_beside_the_weights() -> None:
    found = verdict(MODEL, plan(17, frame=0.04), BUDGET)

    assert found.is_smaller
    assert found.size == Size(640, 368, 121)


def test_a_host_that_is_too_small_rules_an_alternative_out() -> None:
    offloaded = Alternative(plan(4, host=60), {"offload": True})

    assert verdict(MODEL, plan(60, 0, 0, offloaded), BUDGET).chosen is None
    assert verdict(MODEL, plan(60, 0, 0, offloaded), replace(BUDGET, host=None)).chosen is offloaded.plan


def test_advice_names_the_change_and_its_bytes() -> None:
    other = Alternative(plan(9), {"weights": "fp8", "offload": True}, {"text_encoder": "fp8"})

    assert advice(plan(38), BUDGET) == ""
    assert advice(plan(38, 0, 0, other), BUDGET) == (
        "with options: {weights: fp8, offload: true} and files of text_encoder in fp8 it needs 9 GB, which fit"
    )


def test_models_share_parts_and_the_least_recently_used_leaves() -> None:
    both = plan(5, identity="shared").parts
    a, b = (Plan((*plan(6, identity=name).parts, *both)) for name in "ab")
    c = plan(10, identity="c")
    named = [(replace(MODEL, name=name), each) for name, each in zip("abc", (a, b, c), strict=True)]

    first, second, third = loadings(named, 18 * GB, 8)

    assert second.resident == ("a", "b")  # 6 + 6 + 5
    assert (third.evicted, third.resident) == (("a", "b"), ("c",))
    assert first.evicted == ()
    assert [(part.device_bytes, names) for part, names in shared(named)] == [(5 * GB, ("a", "b"))]


def test_a_pinned_model_stays_and_a_number_of_models_is_a_limit() -> None:
    pinned, other, third = ((replace(MODEL, name=name, pin=name == "a"), plan(5, identity=name)) for name in "abc")

    assert loadings([pinned, other, third], 12 * GB, 8)[2].resident == ("a", "c")
    assert loadings([other, third], 12 * GB, 1)[1].evicted == ("b",)
