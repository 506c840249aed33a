"""Threads that must not end: what goes wrong in one is logged, and it goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

REST_SECONDS = 1.0
log = logging.getLogger(__name__)


@contextmanager
def log_and_go_on(what: str, rest: float = REST_SECONDS) -> Iterator[None]:
    """Log whatever the block raises, and rest for a moment."""
    try:
        yield
    except (Exception, SystemExit):  # the latter ends a thread without a word
        log.exception("%s stumbled; it goes on", what)
        time.sleep(rest)
