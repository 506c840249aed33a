"""The rows of each figure, in the order in which a lent machine should give them."""

from __future__ import annotations

from collections.abc import Iterator

import diffusers
import torch

from bench.card import dit, ops, vae
from bench.card.clock import Clock
from bench.card.shapes import Shapes
from bench.table import Row


@torch.no_grad()
def kernels(shapes: Shapes, clock: Clock) -> Iterator[Row]:
    rate = clock.rate()
    yield Row("a bf16 product's rate before", rate / 1e12, "TFLOP/s")
    for name, each in shapes.dits.items():
        yield from ops.attention(name, each, clock, rate)
        yield from ops.products(name, each, clock, rate)
        yield from ops.between(name, each, clock)
    yield Row("a bf16 product's rate after", clock.rate() / 1e12, "TFLOP/s")


@torch.no_grad()
def models(shapes: Shapes, clock: Clock) -> Iterator[Row]:
    diffusers.utils.logging.set_verbosity_error()  # it remarks on each attention backend that is set
    for name, each in shapes.dits.items():
        yield from dit.error(name, each, clock)
        yield from dit.forward(name, each, clock)
        _free()
    name, smallest = next(iter(shapes.dits.items()))
    yield from dit.together(name, smallest, shapes.small, clock)


@torch.no_grad()
def vaes(shapes: Shapes, clock: Clock) -> Iterator[Row]:
    diffusers.utils.logging.set_verbosity_error()
    for name, each in shapes.vaes.items():
        yield from vae.stages(name, each, clock)
        _free()


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
