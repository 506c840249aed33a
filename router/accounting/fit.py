"""Non-negative least squares of few coefficients, by relative errors, from a prior shape."""

from collections.abc import Sequence
from statistics import fmean, median
from typing import NamedTuple

FEW = 0.1  # of the seconds of the scaled prior: so few count by their error relative to those
TRUST = 0.02  # in the prior shape, beside one measured size
LEAST_SHARE = 1e-6  # of a term in the seconds: no point has those of images in a model without images


class Point(NamedTuple):
    """A measured size: the terms of a sum, and the seconds that it takes."""

    terms: tuple[float, ...]
    seconds: float


def fit(points: Sequence[Point], prior: Sequence[float]) -> tuple[float, ...]:
    """Return non-negative coefficients of the terms.

    They are those of `prior` times one scale, as far as the points do not say otherwise: through one point, exactly.
    Each point counts by its relative error, however long it takes: but one of hardly any seconds does not outweigh the
    others. Without points they are those of the prior.
    """
    if not points:
        return tuple(prior)
    scale = _scale(points, prior)
    if not scale:
        return tuple(0.0 for _ in prior)
    start = [scale * each for each in prior]
    weighted = [_weighted(point, start) for point in points]
    # unknowns are the factors by which coefficients differ from the scaled prior, and 1 where nothing says otherwise
    rows = [[term * each for term, each in zip(terms, start, strict=True)] for terms, _ in weighted]
    columns = list(zip(*rows, strict=True))
    matrix = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in columns] for one in columns]
    right = [sum(a * b for a, (_, b) in zip(one, weighted, strict=True)) for one in columns]
    for i, column in enumerate(columns):
        trust = TRUST * max(fmean(column), LEAST_SHARE)  # terms that hardly count may change more
        matrix[i][i] += trust
        right[i] += trust
    return tuple(each * factor for each, factor in zip(start, _non_negative(matrix, right), strict=True))


def value(coefficients: Sequence[float], terms: Sequence[float]) -> float:
    """Return the sum of the terms, each times its coefficient."""
    return sum(each * term for each, term in zip(coefficients, terms, strict=True))


def _weighted(point: Point, start: Sequence[float]) -> tuple[tuple[float, ...], float]:
    expected = value(start, point.terms)
    by = 1 / ((point.seconds if point.seconds > FEW * expected else expected) or 1.0)
    return tuple(term * by for term in point.terms), point.seconds * by


def _scale(points: Sequence[Point], prior: Sequence[float]) -> float:
    """Return the median of the points' seconds, each relative to the prior's."""
    expected = [(point.seconds, value(prior, point.terms)) for point in points]
    return median([seconds / each for seconds, each in expected if each] or [0.0])


def _non_negative(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve a positive definite system; unknowns that would be negative are 0."""
    free = list(range(len(right)))
    while free:
        found = _solve([[matrix[i][j] for j in free] for i in free], [right[i] for i in free])
        lowest = min(range(len(free)), key=found.__getitem__)
        if found[lowest] >= 0:
            return [found[free.index(i)] if i in free else 0.0 for i in range(len(right))]
        del free[lowest]
    return [0.0] * len(right)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a positive definite system by elimination, which needs no pivots."""
    size = len(right)
    for i in range(size):
        for j in range(i + 1, size):
            factor = matrix[j][i] / matrix[i][i]
            matrix[j] = [a - factor * b for a, b in zip(matrix[j], matrix[i], strict=True)]
            right[j] -= factor * right[i]
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (right[i] - sum(matrix[i][j] * found[j] for j in range(i + 1, size))) / matrix[i][i]
    return found
