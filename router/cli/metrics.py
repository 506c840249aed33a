"""The metrics of a machine that has engines and no web half."""

import logging
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_outage, reason
from router.metrics import machine_page
from router.metrics.server import MetricsServer
from router.system import System

log = logging.getLogger(__name__)


def serve_metrics(system: System) -> None:
    """Serve the metrics of this machine, where the settings name an address for them."""
    settings = system.settings
    if settings.metrics_listen is not None:
        MetricsServer(settings.metrics_listen, settings.metrics_key, partial(machine_metrics, system)).start()


def machine_metrics(system: System) -> bytes:
    """Return the page; without engines while the store does not answer."""
    here = system.lock_domain
    try:
        seen = [engine for engine in system.engines.seen() if engine.lock_domain == here]
    except SQLAlchemyError as error:  # the counters are files of this machine
        if not is_outage(error):  # of that the log has a line already
            log.warning("metrics have no engines while the store does not answer: %s", reason(error))
        seen = []
    return machine_page(system.metrics.folder, seen, system.engines.alive(seen), system.disk.free)
