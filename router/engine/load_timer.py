"""Seconds of a device's loads, for estimates and for the ledger."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec
from router.errors import is_outage, reason
from router.system import System
from router.values import Origin

log = logging.getLogger(__name__)


class LoadTimer:
    """Times loads of one kind of device; an error of the store fails none."""

    def __init__(self, system: System, kind: str, now: Callable[[], float] = time.monotonic) -> None:
        self._timings = system.timings
        self._ledger = system.ledger
        self._kind = kind
        self._now = now
        self._downloads = 0.0  # seconds

    @contextmanager
    def load(self, model: ModelSpec, origin: Origin) -> Iterator[None]:
        """Book the block as a load, without downloads; learn its seconds if it succeeds."""
        began, self._downloads, failed = self._now(), 0.0, True
        try:
            yield
            failed = False
        finally:
            seconds = max(self._now() - began - self._downloads, 0.0)
            self.book(model, seconds)
            if not failed:
                self._store(lambda: self._timings.learn_load(self._kind, model, origin, seconds))

    @contextmanager
    def download(self) -> Iterator[None]:
        """Leave the block out of the load."""
        began = self._now()
        try:
            yield
        finally:
            self._downloads += self._now() - began

    @contextmanager
    def warm_up(self, model: ModelSpec) -> Iterator[None]:
        """Book the block's work, which no job asked for, beside the loads."""
        began = self._now()
        try:
            yield
        finally:
            self.book(model, self._now() - began)

    def book(self, model: ModelSpec, seconds: float) -> None:
        self._store(lambda: self._ledger.add_load(model.name, seconds))

    def _store(self, write: Callable[[], None]) -> None:
        try:
            write()
        except SQLAlchemyError as error:
            if not is_outage(error):  # of that the log has a line already
                log.warning("the store did not take the seconds of a load: %s", reason(error))
