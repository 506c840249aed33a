"""Single operations of a block at true shapes."""

from collections.abc import Iterator

import torch

from bench.card import ops
from bench.card.session import Check, Finding, Session
from bench.tools.table import Row


@torch.no_grad()
def operations(session: Session) -> Iterator[Finding]:
    """Time attention by each backend, products and fused operations of each model."""
    clock = session.clock()
    rate = clock.rate()
    yield Row("a bf16 product's rate before", rate / 1e12, "TFLOP/s")
    for name, each in session.shapes.dits.items():
        yield from ops.attention(name, each, clock, rate)
        yield from ops.products(name, each, clock, rate)
        yield from ops.between(name, each, clock)
    yield Row("a bf16 product's rate after", clock.rate() / 1e12, "TFLOP/s")


CHECKS: dict[str, Check] = {"each operation": operations}
