"""Checks for cancellation within a step, which takes half a minute on a CPU."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from router import Preview, Report

SECONDS = 0.25  # between two checks, which may read the store

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)  # of the job on this thread


class CancelWatch:
    """A job's `report`, which `check` repeats at most every `SECONDS`."""

    def __init__(self, report: Report, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._now = now
        self._last = (0, total)
        self._due = now() + SECONDS

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        self._last = (done, total)
        self._report(done, total, preview)
        self._due = self._now() + SECONDS

    def check(self) -> None:
        if self._now() >= self._due:
            self(*self._last)


@contextmanager
def cancel_watch(report: Report, total: int) -> Iterator[CancelWatch]:
    """Yield the `report` of a job, for which `check_cancelled` on this thread checks."""
    job = CancelWatch(report, total)
    before = _check.set(job.check)
    try:
        yield job
    finally:
        _check.reset(before)


def check_cancelled() -> None:
    """Raise `JobCancelled` if this thread's job must stop; costs next to nothing."""
    if (check := _check.get()) is not None:
        check()


@contextmanager
def check_before_each(*lists: Any) -> Iterator[None]:
    """Check for cancellation before each module of `lists` runs; skip compiled modules."""
    with ExitStack() as hooks:
        for module in (each for modules in lists for each in modules):
            if isinstance(module, nn.Module) and not is_compiled(module):
                hooks.callback(module.register_forward_pre_hook(lambda *_: check_cancelled()).remove)
        yield


def is_compiled(module: nn.Module) -> bool:
    """Say whether `module` runs as a graph, which a hook would break."""
    return module._compiled_call_impl is not None
