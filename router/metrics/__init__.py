"""What this server counts and measures, for Prometheus: right under any number of processes, and over their deaths."""

from router.metrics.metrics import Metrics
from router.metrics.page import page

__all__ = ["Metrics", "page"]
