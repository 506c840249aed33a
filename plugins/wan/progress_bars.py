"""Progress bars of commands that write a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from plugins.wan.new_folder import Progress


@contextmanager
def bars() -> Iterator[Progress]:
    """Yield a function that shows a bar for each stage."""
    stage = ""
    bar: ProgressBar[int] | None = None
    with ExitStack() as shown:

        def progress(doing: str, done: int, total: int) -> None:
            nonlocal stage, bar
            if bar is None or doing != stage:
                shown.close()
                stage, bar = doing, shown.enter_context(click.progressbar(length=max(total, 1), label=doing.ljust(36)))
            bar.update(done - bar.pos)

        yield progress
