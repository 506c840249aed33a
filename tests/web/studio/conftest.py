"""Fixtures of the tests in a browser."""

from support.browser import admin_page, chromium, console, new_page, page, studio

__all__ = ["admin_page", "chromium", "console", "new_page", "page", "studio"]
