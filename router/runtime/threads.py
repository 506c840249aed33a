"""Threads that survive errors."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import is_disk_full, is_outage, is_unwritable, reason

REST_SECONDS = 1.0
log = logging.getLogger(__name__)


@contextmanager
def log_and_go_on(what: str, rest: float = REST_SECONDS) -> Iterator[None]:
    """Log errors of the block, then rest for a moment."""
    try:
        yield
    except (Exception, SystemExit) as error:  # the latter would end a thread silently
        if is_outage(error):
            log.debug("%s waits for the store: %s", what, reason(error))  # which has its line in the log
        elif is_unwritable(error) or is_disk_full(error):  # expected: no traceback
            log.error("%s goes on, but the store did not answer: %s", what, reason(error))
        else:
            log.exception("%s failed and goes on", what)
        time.sleep(rest)
