"""The front door: a Flask application over a `System`."""

from router.web.app import create_app

__all__ = ["create_app"]
