"""Plugins: their discovery, their backends, their hooks."""

from router.plugins.broken import BrokenPlugin
from router.plugins.discovery import find
from router.plugins.hooks import Plugins
from router.plugins.needs import missing, missing_message

__all__ = ["BrokenPlugin", "Plugins", "find", "missing", "missing_message"]
