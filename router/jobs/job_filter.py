"""Which jobs a page of the store shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from router.jobs.tables import jobs
from router.values import Status


@dataclass(frozen=True)
class JobFilter:
    """Jobs by model, state and words of their prompts; None: any.

    Each of the `words` must occur in the prompt, whatever its case.
    """

    models: frozenset[str] | None = None
    statuses: frozenset[Status] | None = None
    words: tuple[str, ...] = ()

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        if self.statuses is not None:
            yield jobs.c.status.in_(sorted(self.statuses))
        if self.models is not None:
            yield jobs.c.model.in_(sorted(self.models))
        for word in dict.fromkeys(word.casefold() for word in self.words):
            yield jobs.c.searched.contains(word, autoescape=True)


ALL_JOBS = JobFilter()
