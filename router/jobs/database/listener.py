"""Commits of a PostgreSQL store: told by notifications, and looked for beneath them."""

import logging
import weakref
from contextlib import closing
from threading import Event, Lock, Thread
from typing import Any

from sqlalchemy import Engine

from router.errors import is_outage, reason

CHANNEL = "framegate"
LOOK_SECONDS = 0.5  # without a notification: they get lost with a connection, and do not pass PgBouncer
LOST_SECONDS = 1.0  # between two tries to connect
NEWEST = "SELECT max(n) FROM changes"
log = logging.getLogger(__name__)


class Listener:
    """Counts commits, from the first call of `number`.

    It has a thread and a connection of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._number = 0
        self._lock = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    def number(self) -> int:
        """Return a number that changes after each noticed commit, or failed look."""
        if self._thread is None or not self._thread.is_alive():
            self._start()
        return self._number

    def close(self) -> None:
        self._closed.set()

    def count(self) -> None:
        self._number += 1

    def _start(self) -> None:
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._closed.is_set():
                arguments = (weakref.ref(self), self._engine, self._closed)
                self._thread = Thread(target=_run, args=arguments, name="listener", daemon=True)
                self._thread.start()


def _run(listener: weakref.ref[Listener], engine: Engine, closed: Event) -> None:
    """Listen until the listener is closed or gone."""
    while not closed.is_set() and listener() is not None:
        try:
            with closing(_connect(engine)) as connection:
                _listen(listener, connection, closed)
        except Exception as error:
            _count(listener)
            if not is_outage(error):  # of that the log has a line already
                log.warning("the store cannot be listened to: %s", reason(error))
        closed.wait(LOST_SECONDS)


def _connect(engine: Engine) -> Any:
    raw = engine.raw_connection()
    connection: Any = raw.driver_connection
    raw.detach()
    connection.autocommit = True
    return connection


def _listen(listener: weakref.ref[Listener], connection: Any, closed: Event) -> None:
    connection.execute(f"LISTEN {CHANNEL}")
    known = None
    while not closed.is_set() and listener() is not None:
        told = list(connection.notifies(timeout=LOOK_SECONDS, stop_after=1))
        newest = known if told else connection.execute(NEWEST).fetchone()
        if told or newest != known:
            known = newest
            _count(listener)


def _count(listener: weakref.ref[Listener]) -> None:
    this = listener()
    if this is not None:
        this.count()
