"""Non-negative relative least squares from a prior shape."""

from collections.abc import Sequence
from random import Random

import pytest

from router.accounting.fit import Point, fit, value

PRIOR = (500.0, 1.0, 1 / 16_000)


def terms(tokens: float) -> tuple[float, ...]:
    return 1.0, tokens, tokens * tokens


def points(coefficients: Sequence[float], *tokens: float) -> list[Point]:
    return [Point(terms(each), value(coefficients, terms(each))) for each in tokens]


def error(coefficients: Sequence[float], point: Point) -> float:
    return abs(value(coefficients, point.terms) / point.seconds - 1)


def test_without_points_the_prior_stays() -> None:
    assert fit([], PRIOR) == PRIOR


def test_one_point_scales_the_prior_exactly() -> None:
    assert fit([Point(terms(1000), 3.0)], PRIOR) == pytest.approx([3.0 / value(PRIOR, terms(1000)) * c for c in PRIOR])


def test_twice_the_seconds_give_twice_the_coefficients() -> None:
    measured = points((0.1, 2e-4, 1e-9), 100, 800, 5000)
    double = [Point(each.terms, 2 * each.seconds) for each in measured]

    assert fit(double, PRIOR) == pytest.approx([2 * c for c in fit(measured, PRIOR)])


@pytest.mark.parametrize("truth", [(0.02, 1e-4, 1e-7), (0.0, 1e-4, 0.0), (0.5, 1e-4, 1e-9)])
def test_points_of_another_shape_outweigh_the_prior(truth: tuple[float, ...]) -> None:
    measured = points(truth, 100, 400, 1600, 6400, 25_600)
    found = fit(measured, PRIOR)

    assert max(error(found, point) for point in points(truth, 200, 800, 3200, 12_800)) < 0.15


def test_coefficients_are_never_negative_and_times_grow_with_the_tokens() -> None:
    rng = Random(1)
    for _ in range(200):
        measured = [Point(terms(rng.uniform(10, 1e5)), rng.uniform(0, 10)) for _ in range(rng.randint(1, 8))]
        found = fit(measured, PRIOR)
        times = [value(found, terms(tokens)) for tokens in range(0, 100_000, 5000)]

        assert min(found) >= 0
        assert times == sorted(times)


def test_the_same_size_many_times_is_one_point() -> None:
    assert fit([Point(terms(1000), 3.0)] * 20, PRIOR) == pytest.approx(fit([Point(terms(1000), 3.0)], PRIOR))


def test_a_size_that_took_ten_times_as_long_moves_the_others_little() -> None:
    truth = (0.02, 1e-4, 1e-8)
    measured = points(truth, 100, 200, 400, 800, 1600, 3200)
    slow = Point(measured[3].terms, 10 * measured[3].seconds)
    found = fit([*measured[:3], slow, *measured[4:]], PRIOR)

    assert max(error(found, each) for each in measured) < 0.2


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.001])
def test_a_size_that_took_hardly_any_time_leaves_most_of_the_others(seconds: float) -> None:
    measured = points((0.02, 1e-4, 1e-8), 100, 800, 3200)
    found = fit([*measured, Point(terms(400), seconds)], PRIOR)

    assert max(error(found, each) for each in measured) < 0.5


def test_large_and_small_sizes_count_by_their_share() -> None:
    measured = points((0.05, 1e-4, 0.0), 10, 100_000)
    found = fit(measured, PRIOR)

    assert max(error(found, each) for each in measured) < 0.1


def test_no_seconds_at_all_stay_none() -> None:
    assert fit([Point(terms(100), 0.0), Point(terms(200), 0.0)], PRIOR) == (0.0, 0.0, 0.0)


def test_a_size_without_seconds_beside_others_is_no_error() -> None:
    found = fit([Point(terms(100), 0.0), Point(terms(1000), 1.0)], PRIOR)

    assert 0 < value(found, terms(1000)) < 2
