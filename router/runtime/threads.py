"""Threads that must not end: what goes wrong in one is logged, and it goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import is_disk_full, is_unwritable, reason

REST_SECONDS = 1.0
log = logging.getLogger(__name__)


@contextmanager
def log_and_go_on(what: str, rest: float = REST_SECONDS) -> Iterator[None]:
    """Log whatever the block raises, of a store that cannot be used only what it says, and rest for a moment."""
    try:
        yield
    except (Exception, SystemExit) as error:  # the latter ends a thread without a word
        if is_unwritable(error) or is_disk_full(error):
            log.error("%s goes on, but the store did not answer: %s", what, reason(error))
        else:
            log.exception("%s stumbled; it goes on", what)
        time.sleep(rest)
