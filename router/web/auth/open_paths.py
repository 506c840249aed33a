"""The paths that plugins open: a GET or HEAD of them needs no key."""

from collections.abc import Mapping

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, MapAdapter, RequestRedirect

from router.errors import BootError
from router.plugins import Plugins
from router.values import Panel


def of_plugins(plugins: Plugins, panels: Mapping[Panel, str]) -> dict[str, str]:
    """Return the open paths of plugins, scripts of panels too, with their plugins."""
    # a browser sends no key for a module that a script imports
    return {**plugins.open_paths(), **{panel.script: plugin for panel, plugin in panels.items()}}


def refuse_own(opened: Mapping[str, str], routes: Map) -> None:
    """Raise `BootError` for a plugin that opens a path of the server's `routes`.

    Call it before plugins add theirs. `opened` has each path with its plugin.
    """
    own = routes.bind("localhost")
    for path, plugin in opened.items():
        if _has(own, path):
            raise BootError(f"{plugin} opens {path}, a path of Framegate itself: open_paths is for a plugin's own")


def _has(routes: MapAdapter, path: str) -> bool:
    try:
        routes.match(path, "GET")
    except (MethodNotAllowed, RequestRedirect):
        return True
    except HTTPException:
        return False
    return True
