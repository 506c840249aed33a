"""Looks, within a step too, whether a job still goes on: a step of a large model on a CPU takes half a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from router import Preview, Report

SECONDS = 0.25  # between two looks, which may read the store

_look: ContextVar[Callable[[], None] | None] = ContextVar(
    "check_cancelled", default=None
)  # of the job that this thread runs


class CancelWatch:
    """A job's `report`, which is repeated by `check_cancelled`, not more often than every `SECONDS`."""

    def __init__(self, report: Report, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._now = now
        self._last = (0, total)
        self._due = now() + SECONDS

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        self._last = (done, total)
        self._report(done, total, preview)
        self._due = self._now() + SECONDS

    def check_cancelled(self) -> None:
        """Raise `JobCancelled` where the job is to stop."""
        if self._now() >= self._due:
            self(*self._last)


@contextmanager
def cancel_watch(report: Report, total: int) -> Iterator[CancelWatch]:
    """Let `check_cancelled`, in this thread and while the block runs, stop a job of `total` steps; yield its `report`."""
    job = CancelWatch(report, total)
    before = _look.set(job.look)
    try:
        yield job
    finally:
        _look.reset(before)


def check_cancelled() -> None:
    """Raise `JobCancelled` where this thread runs a job that is to stop; costs next to nothing."""
    if (found := _look.get()) is not None:
        found()


@contextmanager
def check_before_each(*lists: Any) -> Iterator[None]:
    """Look before each of the modules in these lists, while the block runs; what was compiled is left alone."""
    with ExitStack() as hooks:
        for module in (each for modules in lists for each in modules):
            if isinstance(module, nn.Module) and not is_compiled(module):
                hooks.callback(module.register_forward_pre_hook(lambda *_: check_cancelled()).remove)
        yield


def is_compiled(module: nn.Module) -> bool:
    """Say whether `module` runs as a graph, which a hook would break."""
    return module._compiled_call_impl is not None
