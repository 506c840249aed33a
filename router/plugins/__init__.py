"""Find the plugins, know which backend each model belongs to, and ask the right ones."""

from router.plugins.broken import BrokenPlugin
from router.plugins.discovery import find
from router.plugins.hooks import Plugins
from router.plugins.needs import missing, wanted

__all__ = ["BrokenPlugin", "Plugins", "find", "missing", "wanted"]
