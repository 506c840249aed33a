"""Plugins: their discovery, their backends, their hooks."""

from router.plugins.broken import BrokenPlugin
from router.plugins.declaration import missing, missing_message
from router.plugins.discovery import find
from router.plugins.hooks import Plugins

__all__ = ["BrokenPlugin", "Plugins", "find", "missing", "missing_message"]
