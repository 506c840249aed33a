"""The answers of a process that checks a backend."""

from dataclasses import dataclass

LOAD = "load"


@dataclass(frozen=True)
class Listing:
    """The models to check, the rules, and notes; or the problem of all."""

    models: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Result:
    """The result of one rule: how it is broken, in one line, or nothing.

    `trace` has the backend's frames at that moment.
    """

    broken: str = ""
    trace: str = ""
