"""Metrics for Prometheus, summed over all processes, also dead ones."""

from router.metrics.metrics import Metrics
from router.metrics.page import machine_page, page

__all__ = ["Metrics", "machine_page", "page"]
