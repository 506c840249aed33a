"""Rows of the ledger, and their sums by day, owner, key and model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from router.values import Outcome, Usage

LOAD = "load"  # the outcome of the server's own loads
SERVER = ""  # their owner
FIELDS = ("day", "owner", "key", "model")  # what rows can be summed by
NOTHING = Usage()


@dataclass(frozen=True)
class LedgerRow:
    """The work of attempts that ended alike on one day (UTC, such as 2026-12-01).

    `outcome` is one of `Outcome`, or `load`. `key` is the id of an API key, empty without one. Loads have no owner.
    """

    day: str
    owner: str
    key: str
    model: str
    outcome: str
    attempts: int
    used: Usage


@dataclass(frozen=True)
class LedgerSum:
    """Callers' work, lost work and the server's loads, summed over some rows.

    `jobs` counts the attempts of each outcome. Lost attempts and loads are in no other figure.
    """

    jobs: Mapping[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    used: Usage = NOTHING
    lost_gpu_seconds: float = 0.0
    loads: int = 0
    load_seconds: float = 0.0


def total(rows: Iterable[LedgerRow]) -> LedgerSum:
    """Return the sum of all rows."""
    jobs, used, lost, loads, load_seconds = dict.fromkeys(Outcome, 0), NOTHING, 0.0, 0, 0.0
    for row in rows:
        if row.outcome == LOAD:
            loads, load_seconds = loads + row.attempts, load_seconds + row.used.gpu_seconds
            continue
        jobs[Outcome(row.outcome)] += row.attempts
        if row.outcome == Outcome.LOST:
            lost += row.used.gpu_seconds
        else:
            used += row.used
    return LedgerSum(jobs, used, lost, loads, load_seconds)


def totals(rows: Iterable[LedgerRow], by: Sequence[str]) -> Iterator[tuple[tuple[str, ...], LedgerSum]]:
    """Yield the values of the fields `by`, each with the sum of its rows."""
    groups: dict[tuple[str, ...], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in by), []).append(row)
    for names, group in groups.items():
        yield names, total(group)
