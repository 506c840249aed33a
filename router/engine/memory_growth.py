"""A warning when an engine's memory keeps growing over jobs of loaded models.

Only jobs of a kind that was done before, with the same models in memory, are compared: a load, a first job and a first
size may all take memory and keep it.
"""

import gc
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import pairwise

from router.engine.heap import trim
from router.engine.memory_use import own_bytes
from router.values import Job

BLOCKS = 3  # of jobs, each of them with more memory than all jobs of the one before
SIZES = (3, 30, 300)  # jobs in a block: a fast leak is found soon, a slow one later
LEAST_BYTES = 200_000_000  # more than caches of a backend grow by, such as 64 MiB of encoded prompts
MOST_SETS = 16  # of models that are in memory together
MOST_KINDS = 1000  # of jobs
log = logging.getLogger(__name__)


@dataclass
class Block:
    """The memory after some jobs in a row, in bytes."""

    first: int
    least: int
    most: int
    jobs: int = 1

    def add(self, size: int) -> None:
        self.least, self.most, self.jobs = min(self.least, size), max(self.most, size), self.jobs + 1


class Rise:
    """The memory of the last blocks of `jobs` jobs each."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._blocks: deque[Block] = deque(maxlen=BLOCKS)

    def add(self, size: int) -> bool:
        """Add the memory after a job; return True if the last blocks rise."""
        if self._blocks and self._blocks[-1].jobs < self._jobs:
            self._blocks[-1].add(size)
        else:
            self._blocks.append(Block(size, size, size))
        return self.rises(size)

    def rises(self, size: int) -> bool:
        """Return whether memory that is `size` now has risen from block to block."""
        blocks = list(self._blocks)
        whole = len(blocks) == BLOCKS and blocks[-1].jobs == self._jobs
        return whole and size - self.first >= LEAST_BYTES and all(a.most < b.least for a, b in pairwise(blocks))

    @property
    def first(self) -> int:
        return self._blocks[0].first

    @property
    def jobs(self) -> int:
        return self._jobs * BLOCKS


@dataclass
class History:
    """The jobs that ran with one set of models in memory."""

    kinds: set[Hashable] = field(default_factory=set)
    rises: list[Rise] = field(default_factory=lambda: [Rise(jobs) for jobs in SIZES])
    began_at: int | None = None  # bytes before the first warning
    warn_from: int = 0  # bytes

    def is_new(self, kind: Hashable) -> bool:
        if kind in self.kinds:
            return False
        if len(self.kinds) < MOST_KINDS:
            self.kinds.add(kind)
        return True


class MemoryGrowth:
    """Compares this process's memory after each job, and warns of a leak."""

    def __init__(self, measure: Callable[[], int | None] = own_bytes) -> None:
        self._measure = measure
        self._histories: OrderedDict[Hashable, History] = OrderedDict()

    def after(self, job: Job, in_memory: Hashable) -> None:
        """Look at the memory after a job; `in_memory` is `Residency.in_memory`."""
        history = self._history(in_memory)
        kind = (job.model, job.task.shape, job.task.steps, job.task.input_kinds)
        if history.is_new(kind) or (size := self._measure()) is None:
            return
        risen = [rise for rise in history.rises if rise.add(size)]
        if not risen or size < history.warn_from:
            return
        gc.collect()  # a leak is what neither the collector nor the allocator gives back
        trim()
        size = self._measure() or 0
        if lasting := [rise for rise in risen if rise.rises(size)]:
            self._warn(job, lasting[0], size)
            history.began_at = lasting[0].first if history.began_at is None else history.began_at
            history.warn_from = 2 * size - history.began_at  # after as much growth as in all before
        history.rises = [Rise(rise.jobs // BLOCKS) if rise in risen else rise for rise in history.rises]

    def _history(self, in_memory: Hashable) -> History:
        history = self._histories.setdefault(in_memory, History())
        self._histories.move_to_end(in_memory)
        if len(self._histories) > MOST_SETS:
            self._histories.popitem(last=False)
        return history

    def _warn(self, job: Job, rise: Rise, size: int) -> None:
        log.warning(
            "the memory of this engine grew from %d MB to %d MB over %d jobs of loaded models, %d MB a job, the last "
            "of %s: its backend or another plugin may keep something of each job",
            rise.first // 10**6,
            size // 10**6,
            rise.jobs,
            (size - rise.first) // (rise.jobs - 1) // 10**6,
            job.model,
        )
