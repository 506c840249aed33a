"""The findings of checks, and their context."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from router.settings import Settings


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, and something about it will disappoint
    FAIL = "fail"  # something cannot work


@dataclass(frozen=True)
class Finding:
    """The result of one check: a message and an advice."""

    level: Level
    check: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:4}  {self.check}: {self.message}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class DoctorContext:
    """The settings, environment and listening address to check."""

    settings: Settings
    environ: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 8000


def ok(check: str, message: str) -> Finding:
    return Finding(Level.OK, check, message)


def warn(check: str, message: str, advice: str) -> Finding:
    return Finding(Level.WARN, check, message, advice)


def fail(check: str, message: str, advice: str) -> Finding:
    return Finding(Level.FAIL, check, message, advice)
