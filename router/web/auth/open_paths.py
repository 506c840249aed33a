"""Paths that need no key: the server's own, and those that plugins open."""

from collections.abc import Iterable, Mapping

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, MapAdapter, RequestRedirect

from router.errors import BootError

HEALTH = ("/healthz", "/health", "/readyz")  # for load balancers, which name no host, or one of their own
NOT_HERE = ("/flush_cache", "/reset_prefix_cache")  # MAX's benchmark sends no key there, and takes a 404 but no 401
OWN = (*HEALTH, *NOT_HERE, "/version", "/docs", "/openapi.json", "/metrics")  # the last has a key of its own
READING = ("GET", "HEAD")


class OpenPaths:
    """The server's `own` paths, open with any method, and others, open to read."""

    def __init__(self, read: Iterable[str] = (), own: Iterable[str] = OWN) -> None:
        self._own = frozenset(own)
        self._read = frozenset(read)

    def admit(self, method: str, path: str) -> bool:
        """Return whether a request needs no key."""
        return path in self._own or (method in READING and path in self._read)


def refuse_own(opened: Mapping[str, str], routes: Map) -> None:
    """Raise `BootError` for a plugin that opens one of the server's `routes`.

    `opened` has each path with its plugin. Call it before plugins add routes.
    """
    server = routes.bind("localhost")
    for path, plugin in opened.items():
        if path in OWN or _is_there(server, path):
            raise BootError(f"{plugin} opens {path}, which is Framegate's own: a plugin opens paths that it adds itself")


def _is_there(server: MapAdapter, path: str) -> bool:
    try:
        server.match(path, "GET")
    except (MethodNotAllowed, RequestRedirect):
        return True
    except HTTPException:
        return False
    return True
