"""Blocks compiled in the background: a request waits for no compiler."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

log = logging.getLogger(__name__)

Block = Callable[..., torch.Tensor]
SWITCH_SECONDS = 5e-5  # until who compiles must let others have the interpreter, who need it for every operation
MOST_SHAPES = 8  # each is compiled by itself, in seconds to a minute, and looked for at every call


class Compiler:
    """Compiles one function for the shapes that were asked for, one after the other, in a thread.

    What is `compiled_through`, the calls between kernels too, takes longer to compile and less time at every call: a
    CPU has no time for Python between kernels, a GPU has.
    """

    def __init__(self, block: Block, compiled_through: bool = False) -> None:
        self._eager = block
        self._options = {"cpp_wrapper": True} if compiled_through else None
        self._compiled: Block | None = None
        self._ready: set[Hashable] = set()
        self._asked: list[Hashable] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def block_for(self, shape: Hashable) -> Block | None:
        """Return the compiled function if it is ready for `shape`."""
        return self._compiled if shape in self._ready else None

    def ask(self, shape: Hashable, run: Callable[[Block], Any]) -> None:
        """Compile for `shape` in the background: `run` calls the function that it is given as a request would."""
        with self._lock:
            if shape in self._asked or len(self._asked) == MOST_SHAPES:
                return
            self._asked.append(shape)
            before, threads = self._thread, torch.get_num_threads()
            self._thread = threading.Thread(
                target=self._compile, args=(before, threads, shape, run), name="compile", daemon=True
            )
            self._thread.start()

    @property
    def ready(self) -> frozenset[Hashable]:
        """Return the shapes that the compiled function is ready for."""
        return frozenset(self._ready)

    def wait(self) -> None:
        """Return when what was asked for is done."""
        if self._thread is not None:
            self._thread.join()

    def _compile(
        self, before: threading.Thread | None, threads: int, shape: Hashable, run: Callable[[Block], Any]
    ) -> None:
        if before is not None:
            before.join()
        torch.set_num_threads(threads)  # a thread's own; what is compiled serves those with as many
        try:
            with torch.no_grad(), _giving_way():
                run(self._function())
        except Exception as error:
            # whatever the compiler stumbles over, requests go on without it
            log.warning("blocks stay uncompiled, compiling them gave %s", _brief(error))
            return
        self._ready.add(shape)
        log.info("blocks are compiled for %s", shape)

    def _function(self) -> Block:
        if self._compiled is None:
            import torch._dynamo.config
            import torch._inductor.config

            torch._inductor.config.compile_threads = 1  # no processes of its own
            limit = torch._dynamo.config.recompile_limit
            torch._dynamo.config.recompile_limit = max(limit, 4 * MOST_SHAPES)
            self._compiled = torch.compile(self._eager, dynamic=False, fullgraph=True, options=self._options)
        return self._compiled


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
