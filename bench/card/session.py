"""The context of a section: device, folder, time limit, open resources."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from bench.card.clock import TOY as TOY_CLOCK
from bench.card.clock import Clock
from bench.card.shapes import TOY, TRUE, Shapes
from bench.tools.table import Row

T = TypeVar("T")
Finding = Row | str  # a number, or a remark on the numbers before
Check = Callable[["Session"], Iterator[Finding]]


@dataclass
class Session:
    """The run of a section on `device`; on a CPU at toy size.

    `folder` is temporary. No check begins after `seconds`.
    """

    device: str
    folder: Path
    seconds: float
    begun: float = field(default_factory=time.monotonic)
    stack: ExitStack = field(default_factory=ExitStack)
    _opened: dict[str, Any] = field(default_factory=dict)

    @property
    def is_toy(self) -> bool:
        return self.device == "cpu"

    @property
    def shapes(self) -> Shapes:
        return TOY if self.is_toy else TRUE

    def shape(self, shapes: Mapping[str, T], word: str) -> tuple[str, T]:
        """Return the first of `shapes` by the beginning of its name; a toy's first."""
        return next((name, each) for name, each in shapes.items() if self.is_toy or name.startswith(word))

    @property
    def left(self) -> float:
        return self.begun + self.seconds - time.monotonic()

    def clock(self, **changes: Any) -> Clock:
        return TOY_CLOCK if self.is_toy else Clock(self.device, **changes)

    def once(self, name: str, make: Callable[[], AbstractContextManager[T]]) -> T:
        """Return the resource of `make`, opened at the first call, closed with the section."""
        if name not in self._opened:
            self._opened[name] = self.stack.enter_context(make())
        return cast(T, self._opened[name])
