"""Metrics for Prometheus, summed over all processes, also dead ones."""

from router.metrics.metrics import Metrics
from router.metrics.page import page

__all__ = ["Metrics", "page"]
