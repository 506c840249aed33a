"""The panels that plugins add to the page."""

from collections.abc import Iterable

from flask import Response, jsonify

from router.values import Panel
from router.web.access import is_admin
from router.web.answer_fields import Answer, boolean, constant, one_of, string
from router.web.openapi.operations import Example, Routes, ok

ROUTES = Routes("Server")


class PanelEntry(Answer):
    """A tab of the page that a plugin adds."""

    name = string("its name, as in the page's address `#panel-NAME`", pattern="^[a-z][a-z0-9-]*$")
    title = string("what stands on the tab")
    script = string("the path of its ES module, which needs no key")
    admin = boolean("whether it is for those who may administer the server")


class Panels(Answer):
    object = constant("its kind", "list")
    data = one_of("the panels that this caller may see, by name", PanelEntry)


ENTRY, PANELS = PanelEntry(), Panels()


class PanelViews:
    def __init__(self, panels: Iterable[Panel]) -> None:
        self._panels = sorted(panels, key=lambda panel: panel.name)

    @ROUTES.add("GET /studio/panels", ok("the panels", Panels), examples=(Example("all"),))
    def get_panels(self) -> Response:
        """List the panels that plugins add to the page at `/`."""
        shown = [panel for panel in self._panels if is_admin() or not panel.admin]
        return jsonify(PANELS.dump({"data": [ENTRY.dump(panel) for panel in shown]}))
