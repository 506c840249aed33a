"""Blocks compiled in the background: a request waits for no compiler."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple

import torch

log = logging.getLogger(__name__)

Block = Callable[..., torch.Tensor]
SWITCH_SECONDS = 5e-5  # until who compiles must let others have the interpreter, who need it for every operation
MOST_SHAPES = 8  # that are kept; each is compiled by itself, in seconds to a minute
MOST_KINDS = 32  # of blocks in one model
MOST_KNOWN = 64  # shapes that were asked for, or failed
RETRY_SECONDS, LONGEST_SECONDS = 60.0, 3600.0  # after a failure, doubled at each


class ModelGoneError(Exception):
    """The model for which blocks were to be compiled was unloaded meanwhile."""


class _Wanted(NamedTuple):
    run: Callable[[Block], Any]
    threads: int


class _Failure(NamedTuple):
    count: int
    until: float


class Compiler:
    """Compiles one function for the shapes that are asked for, one after the other, in a thread.

    Those used longest ago make way for others that were asked for twice; what failed is tried again later.

    What is `compiled_through`, the calls between kernels too, takes longer to compile and less time at every call: a
    CPU has no time for Python between kernels, a GPU has.
    """

    def __init__(
        self,
        block: Block,
        compiled_through: bool = False,
        *,
        most: int = MOST_SHAPES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._eager = block
        self._options = {"cpp_wrapper": True} if compiled_through else None
        self._clock = clock
        self._ready: OrderedDict[Hashable, Block] = OrderedDict()
        self._waiting: OrderedDict[Hashable, _Wanted] = OrderedDict()
        self._failed: OrderedDict[Hashable, _Failure] = OrderedDict()
        self._asked: OrderedDict[Hashable, None] = OrderedDict()  # once, when there was no room
        self._at_work: Hashable = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def block_for(self, shape: Hashable) -> Block | None:
        """Return the function compiled for `shape`, if it is ready."""
        with self._lock:
            if shape in self._ready:
                self._ready.move_to_end(shape)
            return self._ready.get(shape)

    def ask(self, shape: Hashable, run: Callable[[Block], Any]) -> None:
        """Compile for `shape` in the background: `run` calls the function that it is given as a request would.

        `run` waits for others, so it must not hold a model; it raises `ModelGoneError` where that is no more.
        """
        with self._lock:
            if not self._is_wanted(shape):
                return
            self._waiting[shape] = _Wanted(run, torch.get_num_threads())
            if self._thread is None:
                # a daemon, as an engine that stops waits for no compiler
                self._thread = threading.Thread(target=self._work, name="compile", daemon=True)
                self._thread.start()

    @property
    def ready(self) -> frozenset[Hashable]:
        """Return the shapes that are compiled."""
        return frozenset(self._ready)

    def wait(self) -> None:
        """Return when what was asked for is done."""
        while (thread := self._thread) is not None:
            thread.join()

    def _is_wanted(self, shape: Hashable) -> bool:
        if shape in self._ready or shape in self._waiting or shape == self._at_work:
            return False
        if (failure := self._failed.get(shape)) is not None and self._clock() < failure.until:
            return False
        if len(self._ready) + len(self._waiting) < self._most:
            return True
        if shape in self._asked:
            return len(self._waiting) < self._most
        _keep(self._asked, shape, None, MOST_KNOWN)
        return False

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                shape, wanted = self._waiting.popitem(last=False)
                self._at_work = shape
            compiled = self._compile(shape, wanted)
            del wanted
            with self._lock:
                self._at_work = None
                if compiled is not None:
                    self._failed.pop(shape, None)
                    self._asked.pop(shape, None)
                    for other in _keep(self._ready, shape, compiled, self._most):
                        _forget(other)

    def _compile(self, shape: Hashable, wanted: _Wanted) -> Block | None:
        torch.set_num_threads(wanted.threads)  # a thread's own; what is compiled serves those with as many
        try:
            compiled = self._function()
            with torch.no_grad(), _giving_way():
                wanted.run(compiled)
        except ModelGoneError:
            return None
        except Exception as error:
            # whatever the compiler stumbles over, requests go on without it
            count = self._failed[shape].count + 1 if shape in self._failed else 1
            pause = min(RETRY_SECONDS * 2 ** (count - 1), LONGEST_SECONDS)
            log.warning("blocks stay uncompiled for %.0f s, compiling them gave %s", pause, _brief(error))
            _keep(self._failed, shape, _Failure(count, self._clock() + pause), MOST_KNOWN)
            return None
        log.info("blocks are compiled for %s", shape)
        return compiled

    def _function(self) -> Block:
        """Return a function to be compiled for one shape: what is compiled for it goes when the function does."""
        import torch._dynamo.config
        import torch._inductor.config

        torch._inductor.config.compile_threads = 1  # no processes of its own
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_KINDS)
        eager = self._eager if isinstance(self._eager, FunctionType) else _calling(self._eager)
        # the compiler keeps what it made at the code
        alone = FunctionType(eager.__code__.replace(), eager.__globals__, closure=eager.__closure__)
        return torch.compile(alone, dynamic=False, fullgraph=True, options=self._options)


def _calling(block: Block) -> FunctionType:
    def call(*given: Any) -> torch.Tensor:
        return block(*given)

    return call  # type: ignore[return-value]


def _keep(kept: OrderedDict[Hashable, Any], key: Hashable, value: Any, most: int) -> list[Any]:
    """Keep `value`; return those that leave for it, which were kept longest ago."""
    kept[key] = value
    kept.move_to_end(key)
    return [kept.popitem(last=False)[1] for _ in range(len(kept) - most)]


def _forget(compiled: Any) -> None:
    """Give back what was compiled; a request that still uses it runs on."""
    from torch._dynamo.eval_frame import reset_code

    reset_code(compiled._torchdynamo_orig_callable.__code__)


@contextmanager
def _giving_way() -> Iterator[None]:
    """Let other threads run in between; by Python's own interval a request takes 12 s beside a compiler, not 2."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
