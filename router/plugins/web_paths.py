"""The open paths of plugins, and their panels of the studio."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from router.errors import BootError
from router.values import Panel

# Browsers and this server must mean the same by it: `//host/x.js` and `/\host/x.js` are another host's for a browser,
# which also resolves dots, and what it escapes arrives unescaped.
PATH = re.compile(r"(/(?!\.\.?(/|$))[^/\\?#%<>\s\x00-\x1f\x7f]+)+")
NAME = re.compile(r"[a-z][a-z0-9-]*")
Answers = Iterable[tuple[str, Any]]  # where a plugin comes from, and what it answered


def open_paths(answers: Answers) -> dict[str, str]:
    """Return the open paths of plugins, each with its plugin; raise `BootError` for others."""
    found: dict[str, str] = {}
    for plugin, paths in answers:
        for path in paths:
            found[_path(path, f"{plugin}: a path of open_paths")] = plugin
    return found


def listed(paths: Iterable[Any]) -> tuple[Any, ...]:
    """Return the paths; raise `TypeError` for a text."""
    if isinstance(paths, str):  # each of its letters would be a path
        raise TypeError(f"it must return a list of paths, got {paths!r:.200}")
    return tuple(paths)


def panels(answers: Answers) -> Mapping[Panel, str]:
    """Return the panels of plugins, each with its plugin; raise `BootError` for others."""
    found: dict[str, tuple[Panel, str]] = {}
    for plugin, panel in answers:
        if not isinstance(panel, Panel):
            raise BootError(f"{plugin}: studio_panel must return a Panel, got {panel!r:.200}")
        if not isinstance(panel.name, str) or not NAME.fullmatch(panel.name):
            raise BootError(
                f"{plugin}: the name of a panel must be lower-case letters, digits and hyphens, such as "
                f"'colours', got {panel.name!r:.200}"
            )
        if not isinstance(panel.title, str) or not panel.title.strip():
            raise BootError(f"{plugin}: the panel {panel.name!r} must have a title, got {panel.title!r:.200}")
        _path(panel.script, f"{plugin}: the script of the panel {panel.name!r}")
        if panel.name in found:
            raise BootError(f"two plugins have a panel {panel.name!r}: {found[panel.name][1]} and {plugin}")
        found[panel.name] = panel, plugin
    return dict(found.values())


def _path(path: object, what: str) -> str:
    if not isinstance(path, str) or not PATH.fullmatch(path):
        raise BootError(f"{what} must be a whole path without escapes, such as '/colours.js', got {path!r:.200}")
    return path
