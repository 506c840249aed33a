"""Expected seconds of a job, from the measured seconds of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, replace
from statistics import fmean, median_low
from typing import NamedTuple

from registry import ModelSpec, Size
from router.accounting.features import Features, Variant, features_of, mode_of, size_of, without_adapters
from router.accounting.fit import Point, fit, value
from router.values import Estimate, EstimateBasis, Task, WorkSeconds

TOKENS_PER_WIDTH = 7  # 3 d + ffn: as many tokens make attention the half of a block; ffn is about 4 d
LEAST_TOKENS = 250  # at which the calls of a step's operations take as long as the linear part
PIXELS = (120_000, 1.0)  # of all frames, at which what begins and ends a phase takes as long as the pixels
IMAGES = 0.5  # of the decoding, for the VAE to encode images, until a job with images was measured
Terms = Callable[[Features], tuple[float, ...]]


class Measurement(NamedTuple):
    """The seconds of one job's phases, `step` of one step."""

    text: float
    step: float
    decode: float
    encode: float

    @classmethod
    def of(cls, seconds: WorkSeconds, steps: int) -> Measurement:
        return cls(seconds.text, seconds.steps / max(steps, 1), seconds.decode, seconds.encode)

    def seconds(self, steps: int) -> WorkSeconds:
        return WorkSeconds(self.text, self.step * steps, self.decode, self.encode)


class KnownSize(NamedTuple):
    """The measured jobs of one variant, mode and size."""

    variant: Variant
    mode: str
    size: Size
    seconds: Measurement


class _Example(NamedTuple):
    """A measured size, as the model of an estimate would take it."""

    features: Features
    seconds: Measurement
    step: float


def typical(measured: Iterable[Sequence[float]]) -> Measurement:
    """Return the median of each phase: a first job may also compile."""
    return Measurement(*map(median_low, zip(*measured, strict=True)))


def estimate(model: ModelSpec, task: Task, known: Sequence[KnownSize]) -> Estimate | None:
    """Return the expected seconds by the jobs of the model itself, None without any."""
    wanted = Variant.of(model), mode_of(task), size_of(task)
    if (same := next((each.seconds for each in known if each[:3] == wanted), None)) is not None:
        return Estimate(same.seconds(task.steps), EstimateBasis.MEASURED)
    return fitted(model, task, known, EstimateBasis.FITTED) if known else None


def fitted(model: ModelSpec, task: Task, known: Sequence[KnownSize], basis: EstimateBasis) -> Estimate:
    """Return the expected seconds by those of other sizes, or of other models."""
    variant, mode = Variant.of(model), mode_of(task)
    wanted = features_of(size_of(task), mode, model.size_multiple)
    groups = [[_example(each, variant) for each in group] for group in _nearer(known, variant, mode)]
    steps = (LEAST_TOKENS, 1.0, 1 / (TOKENS_PER_WIDTH * variant.width))
    decode = _phase(groups, wanted, lambda each: each.seconds.decode, _pixel_terms, PIXELS)
    images = 0.0
    if wanted.image_pixels and not any(each.features.image_pixels for each in groups[0]):
        images, wanted = IMAGES * decode, replace(wanted, image_pixels=0)
    seconds = Measurement(
        text=_phase(groups, wanted, lambda each: each.seconds.text, _text_terms, PIXELS) + images,
        step=_phase(groups, wanted, lambda each: each.step, _step_terms, steps),
        decode=decode,
        encode=_phase(groups, wanted, lambda each: each.seconds.encode, _pixel_terms, PIXELS),
    )
    return Estimate(seconds.seconds(task.steps), basis)


def mean(estimates: Sequence[Estimate]) -> Estimate | None:
    """Return the mean of estimates for several kinds of devices, None of none."""
    if len(estimates) < 2:
        return estimates[0] if estimates else None
    seconds = WorkSeconds(*map(fmean, zip(*(astuple(each.seconds) for each in estimates), strict=True)))
    return Estimate(seconds, max((each.basis for each in estimates), key=list(EstimateBasis).index))


def _nearer(known: Sequence[KnownSize], variant: Variant, mode: str) -> Iterable[Sequence[KnownSize]]:
    """Yield all sizes, then ever fewer that are more like the wanted one."""
    yield known
    plain = without_adapters(mode)
    alike: tuple[Callable[[KnownSize], bool], ...] = (
        lambda each: each.variant == variant,
        lambda each: without_adapters(each.mode) == plain,
        lambda each: each.mode == mode,
    )
    for is_alike in alike:
        if (nearer := [each for each in known if is_alike(each)]) and len(nearer) < len(known):
            yield (known := nearer)


def _example(known: KnownSize, variant: Variant) -> _Example:
    # the work of a token grows with the square of the width
    step = known.seconds.step * (variant.width / known.variant.width) ** 2
    return _Example(features_of(known.size, known.mode, known.variant.size_multiple), known.seconds, step)


def _phase(
    groups: Sequence[Sequence[_Example]],
    wanted: Features,
    seconds: Callable[[_Example], float],
    terms: Terms,
    prior: Sequence[float],
) -> float:
    """Return a phase's expected seconds; each group is the prior of the next."""
    coefficients = prior
    for group in groups:
        coefficients = fit([Point(terms(each.features), seconds(each)) for each in group], coefficients)
    return value(coefficients, terms(wanted))


def _text_terms(features: Features) -> tuple[float, ...]:
    return 1.0, features.image_pixels


def _pixel_terms(features: Features) -> tuple[float, ...]:
    return 1.0, features.pixels


def _step_terms(features: Features) -> tuple[float, ...]:
    tokens = features.passes * features.tokens
    return features.passes, tokens, tokens * features.tokens
