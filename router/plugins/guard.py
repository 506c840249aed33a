"""Guards around hook implementations: pluggy calls every listener, although one of them raises."""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pluggy

from router.plugins.broken import summary
from router.plugins.discovery import origin

Around = Callable[[Mapping[str, Any]], AbstractContextManager[None]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """The error that one implementation of a hook raised."""

    plugin: object
    hook: str
    error: BaseException

    def __str__(self) -> str:
        return f"{self.hook} raised {summary(self.error)}"


_failures: ContextVar[list[Failure] | None] = ContextVar("failures", default=None)


def call(hook: pluggy.HookCaller, **arguments: object) -> tuple[Failure, ...]:
    """Call a hook whose implementations are guarded; return the failures."""
    failures: list[Failure] = []
    token = _failures.set(failures)
    try:
        hook(**arguments)
    finally:
        _failures.reset(token)
    return tuple(failures)


def install(implementation: pluggy.HookImpl, hook: str, around: Around = lambda _: nullcontext()) -> None:
    """Guard an implementation: note its errors instead of raising them.

    `around(arguments)` encloses the author's code, too; the arguments come by name.
    """

    @contextmanager
    def guard(arguments: Mapping[str, Any]) -> Iterator[None]:
        try:
            with around(arguments):
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's code: its SystemExit must not end a server
            _note(Failure(implementation.plugin, hook, error))

    is_wrapper = implementation.wrapper or implementation.hookwrapper
    # pluggy has read signature and options by now, and passes their arguments to whatever stands here
    implementation.function = (_wrapper if is_wrapper else _plain)(implementation, guard)  # type: ignore[misc]


def _note(failure: Failure) -> None:
    if (failures := _failures.get()) is not None:
        failures.append(failure)
    else:
        log.error("the plugin %s failed: %s", origin(failure.plugin), failure, exc_info=failure.error)


def _plain(implementation: pluggy.HookImpl, guard: Around) -> Callable[..., object]:
    function = implementation.function

    def guarded(*args: object, **kwargs: object) -> object:
        with guard({**dict(zip(implementation.argnames, args, strict=True)), **kwargs}):
            return function(*args, **kwargs)
        return None

    return guarded


def _wrapper(implementation: pluggy.HookImpl, guard: Around) -> Callable[..., Generator[None, Any, Any]]:
    """Return a wrapper that yields once, with a guard around each half."""
    function: Callable[..., Any] = implementation.function

    def guarded(*args: object, **kwargs: object) -> Generator[None, Any, Any]:
        arguments = {**dict(zip(implementation.argnames, args, strict=True)), **kwargs}
        author = function(*args, **kwargs)
        has_begun = False
        with guard(arguments):
            has_begun = _begin(author)
        outcome = result = yield
        if has_begun:
            with guard(arguments):
                result = _end(author, outcome)
        # an old-style wrapper may also force an exception upon the outcome, for all outer wrappers and the caller
        forced = outcome.exception if implementation.hookwrapper else None
        if forced is not None and not isinstance(forced, KeyboardInterrupt):
            with guard(arguments):
                raise forced
            outcome.force_result([])
        return result

    return guarded


def _begin(author: Generator[None, Any, Any]) -> bool:
    try:
        next(author)
    except StopIteration:
        raise RuntimeError("the wrapper did not yield") from None
    return True


def _end(author: Generator[None, Any, Any], outcome: object) -> object:
    """Run the second half of a wrapper, and return its result."""
    try:
        author.send(outcome)
    except StopIteration as end:
        return end.value
    finally:
        author.close()
    raise RuntimeError("the wrapper yielded twice")
