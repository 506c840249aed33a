"""gunicorn's master: which workers count as silent."""

import signal
from typing import Any

import pytest

from router.web.server.arbiter import GAP_SECONDS, Master


class Arbiter:
    """The wrapped methods of gunicorn's arbiter; `looks` counts searches for silent workers."""

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


def test_silent_workers_are_killed(master: Master) -> None:
    master.murder_workers()

    assert master._server.looks == 1  # type: ignore[attr-defined]


def test_workers_are_spared_for_a_moment_after_the_master_was_suspended(master: Master) -> None:
    master._checked_at -= 60  # as in a container that was frozen for a minute
    master.murder_workers()
    master.murder_workers()
    assert master._server.looks == 0  # type: ignore[attr-defined]
    master._checked_at -= GAP_SECONDS - 1
    master._spare_until -= GAP_SECONDS
    master.murder_workers()

    assert master._server.looks == 1  # type: ignore[attr-defined]
