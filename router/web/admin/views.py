"""The views of administrators, in one list."""

from flask import Flask

from router.system import System
from router.web.admin import engines, keys, queue, revisions

NOUNS = (engines, queue, keys, revisions)


def register(app: Flask, system: System) -> None:
    """Add the routes below `/admin`."""
    engines.ROUTES.register(app, engines.EngineViews(system))
    queue.ROUTES.register(app, queue.QueueViews(system))
    keys.ROUTES.register(app, keys.KeyViews(system))
    revisions.ROUTES.register(app, revisions.RevisionViews(system))
