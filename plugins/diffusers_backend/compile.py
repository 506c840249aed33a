"""Background compilation of the DiT's blocks: no request waits for the compiler."""

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

from plugins.wan.memory import brief

log = logging.getLogger(__name__)

Block = Callable[..., torch.Tensor]
Clock = Callable[[], float]
SWITCH_SECONDS = 5e-5  # the interpreter's switch interval: a request needs the interpreter for every operation
MAX_SHAPES = 8  # compiled at a time; each is compiled by itself, in seconds to a minute
MAX_KINDS = 32  # of blocks in one model
MAX_REMEMBERED = 64  # shapes requested once, and failures
RETRY_SECONDS, MAX_RETRY_SECONDS = 60.0, 3600.0  # after a failure, doubled at each


class ModelGoneError(Exception):
    """The model to compile for was unloaded meanwhile."""


class _Request(NamedTuple):
    run: Callable[[Block], Any]
    threads: int


class _Failure(NamedTuple):
    attempts: int
    until: float


class Compiler:
    """Compile one Python function for each requested shape, in a thread of its own.

    The least recently used shapes are evicted for shapes requested twice; a failed shape is tried again later.

    `cpp_wrapper` also compiles the code between kernels: slower to compile, faster per call on a CPU, no gain on a GPU.
    """

    def __init__(
        self, block: Block, cpp_wrapper: bool = False, limit: int = MAX_SHAPES, clock: Clock = time.monotonic
    ) -> None:
        self._limit = limit
        self._eager = block
        self._options: dict[str, Any] | None = {"cpp_wrapper": True} if cpp_wrapper else None
        self._clock = clock
        self._ready: OrderedDict[Hashable, Block] = OrderedDict()
        self._waiting: OrderedDict[Hashable, _Request] = OrderedDict()
        self._failed: OrderedDict[Hashable, _Failure] = OrderedDict()
        self._requested: OrderedDict[Hashable, None] = OrderedDict()  # once, when the limit was reached
        self._current: Hashable = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def block_for(self, shape: Hashable) -> Block | None:
        """Return the function compiled for `shape`, None if it is not ready."""
        with self._lock:
            if shape in self._ready:
                self._ready.move_to_end(shape)
            return self._ready.get(shape)

    def request(self, shape: Hashable, run: Callable[[Block], Any]) -> None:
        """Compile for `shape` in the background; `run` calls its argument as a pass would.

        `run` must not hold a model while it waits; it raises `ModelGoneError` if the model was unloaded.
        """
        with self._lock:
            if not self._should_compile(shape):
                return
            self._waiting[shape] = _Request(run, torch.get_num_threads())
            if self._thread is None:
                # a daemon, as an engine that stops waits for no compiler
                self._thread = threading.Thread(target=self._work, name="compile", daemon=True)
                self._thread.start()

    @property
    def ready(self) -> frozenset[Hashable]:
        return frozenset(self._ready)

    def wait(self) -> None:
        while (thread := self._thread) is not None:
            thread.join()

    def _should_compile(self, shape: Hashable) -> bool:
        if shape in self._ready or shape in self._waiting or shape == self._current:
            return False
        if (failure := self._failed.get(shape)) is not None and self._clock() < failure.until:
            return False
        if len(self._ready) + len(self._waiting) < self._limit:
            return True
        if shape in self._requested:
            return len(self._waiting) < self._limit
        _put(self._requested, shape, None, MAX_REMEMBERED)
        return False

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                shape, request = self._waiting.popitem(last=False)
                self._current = shape
            compiled = self._compile(shape, request)
            del request
            with self._lock:
                self._current = None
                if compiled is not None:
                    self._failed.pop(shape, None)
                    self._requested.pop(shape, None)
                    for other in _put(self._ready, shape, compiled, self._limit):
                        _forget(other)

    def _compile(self, shape: Hashable, request: _Request) -> Block | None:
        torch.set_num_threads(request.threads)  # a thread's own setting, for which the code is compiled
        try:
            compiled = self._function()
            with torch.no_grad(), _short_switch_interval():
                request.run(compiled)
        except ModelGoneError:
            return None
        except Exception as error:
            # whatever the compiler stumbles over, requests go on without it
            count = self._failed[shape].attempts + 1 if shape in self._failed else 1
            pause = min(RETRY_SECONDS * 2 ** (count - 1), MAX_RETRY_SECONDS)
            log.warning("blocks stay uncompiled for %.0f s, compiling them gave %s", pause, brief(error))
            _put(self._failed, shape, _Failure(count, self._clock() + pause), MAX_REMEMBERED)
            return None
        log.info("blocks are compiled for %s", shape)
        return compiled

    def _function(self) -> Block:
        """Return a copy of the function, which alone holds its compiled code."""
        import torch._dynamo.config
        import torch._inductor.config

        torch._inductor.config.compile_threads = 1  # no processes of its own
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_KINDS)
        eager: Any = self._eager
        # the compiler keeps its results at the code object
        alone = FunctionType(eager.__code__.replace(), eager.__globals__, closure=eager.__closure__)
        return torch.compile(alone, dynamic=False, fullgraph=True, options=self._options)


def _put(kept: OrderedDict[Hashable, Any], key: Hashable, value: Any, limit: int) -> list[Any]:
    """Put `value` last; return the oldest values beyond `limit`, now removed."""
    kept[key] = value
    kept.move_to_end(key)
    return [kept.popitem(last=False)[1] for _ in range(len(kept) - limit)]


def _forget(compiled: Any) -> None:
    """Release compiled code; a request that still uses the code runs on."""
    from torch._C._dynamo.eval_frame import reset_code

    reset_code(compiled._torchdynamo_orig_callable.__code__)


@contextmanager
def _short_switch_interval() -> Iterator[None]:
    # by Python's own interval a request takes 12 s beside the compiler, not 2
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
