"""Build the application: one blueprint per noun, one way to answer errors."""

from functools import partial

from flask import Flask

from router.auth.signed_urls import SignedUrls, new_secret, secret_in
from router.intake.intake import Intake
from router.jobs import LINKS_SECRET, FactStore
from router.media import Decoders
from router.runtime.server_paths import ServerPaths
from router.system import System
from router.web import access, docs, errors, files, health, me, metrics, models, not_offered
from router.web.admin import views as admin
from router.web.auth import open_paths
from router.web.auth.authenticate import Authenticator
from router.web.auth.key_cache import KeyCache
from router.web.auth.rate_limit import rate_limits
from router.web.file_links import FileLinks
from router.web.file_sender import FileSender
from router.web.finished_files import FinishedFiles
from router.web.http.host_names import HostNames
from router.web.http.proxies import Proxies
from router.web.images import views as images
from router.web.openapi.operations import JobConverter
from router.web.responses import views as responses
from router.web.responses.render import Rendering
from router.web.studio import panels
from router.web.studio import views as studio
from router.web.usage import views as usage
from router.web.videos import estimate, sync
from router.web.videos import views as videos
from router.web.waiting.disconnects import DisconnectMonitor
from router.web.waiting.waiters import Waiters

NOUNS = (
    *(responses, videos, sync, estimate, images, files, models, usage, me),
    *(health, metrics, docs, studio, panels, *admin.NOUNS),
)
OPERATIONS = tuple(operation for noun in NOUNS for operation in noun.ROUTES.operations)


class Application(Flask):
    """The Flask application, with what gunicorn's hooks must reach."""

    waiting: Waiters
    readiness: health.ReadinessLog

    def __init__(self) -> None:
        super().__init__("framegate", static_folder=None)
        self.json.sort_keys = False  # type: ignore[attr-defined]
        self.url_map.converters["job"] = JobConverter
        self.url_map.strict_slashes = False
        self.url_map.merge_slashes = False


def create_app(system: System, decoders: Decoders | None = None) -> Flask:
    """Return the WSGI application of one web process.

    By default it decodes images in child processes of its own.
    """
    app, settings = Application(), system.settings
    app.wsgi_app = Proxies(app.wsgi_app, settings.proxies)  # type: ignore[method-assign]
    leaving = DisconnectMonitor(system, seconds=settings.leave_seconds)
    app.waiting = Waiters(system.jobs, leaving, limit=settings.waiters, seconds=settings.wait_seconds)
    app.readiness = health.ReadinessLog(system)
    ring = KeyCache(system.keys, settings)
    signatures = SignedUrls(partial(_secret_of_links, system), seconds=settings.link_seconds, needed=ring.needed)
    names = HostNames(settings)
    page = studio.Studio()
    rates, estimates = rate_limits(system)
    plugin_panels = system.plugins.panels()
    opened = open_paths.of_plugins(system.plugins, plugin_panels)
    callers = Authenticator(
        ring, signatures, rates, estimates, names, page.paths.union(opened), no_auth=settings.no_auth
    )
    access.install(app, callers, system.metrics)
    paths = ServerPaths(settings.folders)
    errors.install(app, paths)
    intake = Intake(system, decoders)
    made, sender = FinishedFiles(system), FileSender(settings, app.waiting)
    links = FileLinks(settings.public_url, signatures)
    rendering = Rendering(system.jobs, made, links)
    responses.ROUTES.register(app, responses.Responses(system, intake, app.waiting, rendering))
    videos.ROUTES.register(app, videos.Videos(system, intake, links))
    sync.ROUTES.register(app, sync.SyncVideos(system, intake, app.waiting, made, sender))
    estimate.ROUTES.register(app, estimate.VideoEstimates(system, intake))
    images.ROUTES.register(app, images.ImageViews(system, intake, app.waiting, made, links))
    not_offered.add_refusals(app)
    files.ROUTES.register(app, files.Content(system, made, sender))
    models.ROUTES.register(app, models.Catalog(system, paths))
    usage.ROUTES.register(app, usage.UsageViews(system))
    me.ROUTES.register(app, me.MeView())
    health.ROUTES.register(app, health.Ops(system))
    metrics.ROUTES.register(app, metrics.Page(system, names))
    docs.ROUTES.register(app, docs.Docs(settings.public_url, OPERATIONS), template_folder="templates")
    studio.ROUTES.register(app, page)
    panels.ROUTES.register(app, panels.PanelViews(plugin_panels))
    admin.register(app, system)
    open_paths.refuse_own(opened, app.url_map)
    system.plugins.configure(app)
    system.weights.look_ahead(system.registries.poll().models)
    return app


def _secret_of_links(system: System) -> bytes:
    if system.database.is_shared:
        return bytes.fromhex(FactStore(system.database).get_or_make(LINKS_SECRET, lambda: new_secret().hex()))
    return secret_in(system.settings.data / LINKS_SECRET)
