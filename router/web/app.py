"""Build the application: one blueprint per noun, one way to answer errors."""

from __future__ import annotations

from flask import Flask

from router.images import Decoders
from router.intake import Intake
from router.server_paths import ServerPaths
from router.system import System
from router.web import access, catalog, content, docs, errors, metrics, ops, responses, videos
from router.web.callers import Callers
from router.web.host_names import HostNames
from router.web.leaving import Leaving
from router.web.links import Links
from router.web.proxies import Proxies
from router.web.rates import Rates
from router.web.readiness import Readiness
from router.web.ring import KeyRing
from router.web.waiting import Waiting


class Application(Flask):
    """The Flask application, with what gunicorn's hooks must reach."""

    waiting: Waiting
    readiness: Readiness


def create_app(system: System, decoders: Decoders | None = None) -> Flask:
    """Return the WSGI application of one web process; by default its images are decoded by children of its own."""
    app = Application("framegate", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    settings = system.settings
    app.wsgi_app = Proxies(app.wsgi_app, settings.proxies)  # type: ignore[method-assign]
    leaving = Leaving(system, seconds=settings.leave_seconds)
    app.waiting = Waiting(system.jobs, leaving, most=settings.waiters, seconds=settings.wait_seconds)
    app.readiness = Readiness(system)
    ring = KeyRing(system.keys, settings)
    links = Links(settings.data / "links.secret", seconds=settings.link_seconds, needed=ring.needed)
    names = HostNames(settings)
    callers = Callers(ring, links, Rates(settings.data / "rates"), names, no_auth=settings.no_auth)
    access.install(app, callers, system.metrics)
    paths = ServerPaths(settings)
    errors.install(app, paths)
    intake = Intake(system, decoders)
    app.register_blueprint(responses.Responses(system, intake, app.waiting, links).blueprint())
    app.register_blueprint(videos.Videos(system, intake).blueprint())
    app.register_blueprint(content.Content(system, app.waiting).blueprint())
    app.register_blueprint(catalog.Catalog(system, paths).blueprint())
    app.register_blueprint(ops.Ops(system).blueprint())
    app.register_blueprint(metrics.Page(system, names).blueprint())
    app.register_blueprint(docs.Docs(system).blueprint())
    system.plugins.configure(app)
    system.weights.look_ahead(system.registry.models)
    return app
