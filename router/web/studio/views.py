"""The views of the page: one document and its files."""

from flask import Response, request

from router.errors import UnknownJob
from router.web.openapi import problems as why
from router.web.openapi.operations import Reply, Routes
from router.web.openapi.parameters import KNOWN
from router.web.studio.static_files import StaticFile, static_files

ROUTES = Routes("Server")
PAGE = "index.html"
TEXTS = {name: {"type": "string"} for name in ("text/css", "text/javascript", "image/svg+xml", "text/html")}
# The first script and what every view imports, all fetched at once.
SHARED = ("app.js", "api.js", "dom.js", "session.js", "format.js", "videos.js")
PRELOAD = ", ".join(f"<studio/{name}>; rel=modulepreload" for name in SHARED)
# Everything comes from this server. No script is made of text: Trusted Types has no policy that could.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


class Studio:
    """Serves the files of the page, which hold no data of anybody."""

    def __init__(self) -> None:
        self._files = static_files()
        self._page = self._files.pop(PAGE)  # at `/` only, with its policy

    @property
    def paths(self) -> frozenset[str]:
        """The paths that need no key."""
        return frozenset({"/", *(f"/studio/{name}" for name in self._files)})

    @ROUTES.add(
        "GET /",
        {200: Reply("the page", {"text/html": TEXTS["text/html"]}, ("etag",)), 304: Reply("you have it already")},
        parameters=(KNOWN,),
        problems=(why.OTHER_HOST,),
        open=True,
    )
    def get_studio(self) -> Response:
        """Open the page on which videos are made, watched and kept."""
        response = _sent(self._page)
        response.headers["content-security-policy"] = POLICY
        response.headers["link"] = PRELOAD
        response.headers["referrer-policy"] = "no-referrer"
        if request.is_secure:  # elsewhere browsers complain of it
            response.headers["cross-origin-opener-policy"] = "same-origin"
        return response

    @ROUTES.add(
        "GET /studio/{file}",
        {200: Reply("the file", TEXTS, ("etag",)), 304: Reply("you have it already")},
        parameters=(KNOWN,),
        problems=(why.NOT_FOUND, why.OTHER_HOST),
        open=True,
    )
    def get_studio_file(self, file: str) -> Response:
        """Fetch a script, a style or a picture of the page."""
        if file not in self._files:
            raise UnknownJob(f"not found: the page has no file {file[:100]!r}")
        return _sent(self._files[file])


def _sent(file: StaticFile) -> Response:
    response = Response(file.data, content_type=file.media_type)
    response.set_etag(file.etag)
    response.headers["cache-control"] = "no-cache"  # asked for again each time, and mostly answered by 304
    request.environ.pop("HTTP_IF_MATCH", None)  # it guards writes, and nobody writes here
    response.make_conditional(request)
    return response
