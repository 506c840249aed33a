"""One line for an outage, one for its end; one thread that tries."""

import logging
from threading import Event, Thread

import pytest

from router.jobs.database.outage import REST_SECONDS, Outage


class Lost(Exception):
    pass


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refuse() -> int:
    raise Lost("refused")


def outage(clock: Clock) -> Outage:
    found = Outage("here", clock)
    found.is_logged = True
    return found


def test_after_a_failure_others_fail_at_once_until_the_rest_is_over() -> None:
    clock, tries = Clock(), list[int]()
    lost = outage(clock)

    def count() -> int:
        tries.append(1)
        return refuse()

    for _ in range(3):
        with pytest.raises(Lost, match="refused"):
            lost.connect(count, Lost)
    assert len(tries) == 1
    clock.now += REST_SECONDS
    assert lost.connect(lambda: 7, Lost) == 7
    assert lost.connect(lambda: 8, Lost) == 8


def test_during_an_outage_one_thread_tries() -> None:
    clock, trying, go = Clock(), Event(), Event()
    lost = outage(clock)
    with pytest.raises(Lost):
        lost.connect(refuse, Lost)
    clock.now += REST_SECONDS

    def connect() -> int:
        trying.set()
        assert go.wait(60)
        return 7

    thread = Thread(target=lambda: lost.connect(connect, Lost))
    thread.start()
    assert trying.wait(60)
    with pytest.raises(Lost, match="refused"):
        lost.connect(lambda: 8, Lost)
    go.set()
    thread.join(60)

    assert lost.connect(lambda: 9, Lost) == 9


def test_an_outage_has_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    lost = outage(clock)
    with caplog.at_level(logging.INFO):
        lost.begin(Lost("gone"))
        lost.begin(Lost("refused"))
        clock.now += 4
        lost.end()
        lost.end()

    assert [record.getMessage() for record in caplog.records] == [
        "the store here cannot be used now: gone; trying again",
        "the store here is back after 4.0 s",
    ]


def test_a_command_hears_of_an_outage_by_its_error_alone(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Lost):
        Outage("here").connect(refuse, Lost)

    assert not caplog.records
