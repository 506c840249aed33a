"""gunicorn's master: whom it takes for silent."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from router.web.server.arbiter import GAP_SECONDS, Master


class Arbiter:
    """As much of gunicorn's as the master wraps; counts how often it was to kill silent workers."""

    def __init__(self) -> None:
        self.looks = 0

    def murder_workers(self) -> None:
        self.looks += 1

    def reap_workers(self) -> None: ...
    def reload(self) -> None: ...
    def stop(self, graceful: bool = True) -> None: ...
    def kill_workers(self, number: signal.Signals) -> None: ...


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Master:
    monkeypatch.delenv("FRAMEGATE_BEATS", raising=False)
    server: Any = Arbiter()
    return Master(server, served=lambda: True, stopping=lambda: False)


def test_silent_workers_are_looked_for(master: Master) -> None:
    master.murder_workers()

    assert master._server.looks == 1  # type: ignore[attr-defined]


def test_after_it_stood_still_itself_workers_have_a_moment_to_show_life(master: Master) -> None:
    master._looked -= 60  # as in a container that was frozen for a minute
    master.murder_workers()
    master.murder_workers()
    assert master._server.looks == 0  # type: ignore[attr-defined]
    master._looked -= GAP_SECONDS - 1
    master._spared_until -= GAP_SECONDS
    master.murder_workers()

    assert master._server.looks == 1  # type: ignore[attr-defined]
