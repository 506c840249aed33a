"""`/metrics`, and who may read it."""

from hmac import compare_digest

from flask import Response, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from router.errors import Refused
from router.metrics import page
from router.system import System
from router.web.http.host_names import HostNames
from router.web.http.proxies import is_local
from router.web.openapi.operations import Example, Reply, Routes

ROUTES = Routes("Server")


class Page:
    """The metrics of all processes: for the metrics key, or for this machine."""

    def __init__(self, system: System, names: HostNames) -> None:
        self._system = system
        self._names = names
        self._key = system.settings.metrics_key.encode()

    @ROUTES.add(
        "GET /metrics", {200: Reply("Prometheus' text", {"text/plain": {"type": "string"}})}, examples=(Example("all"),)
    )
    def metrics(self) -> Response:
        """Read what was counted and measured.

        For calls over loopback that came through no proxy; where the server has a key for this, for those that bring
        it: `Authorization: Bearer KEY`.
        """
        if self._key and not _brought(self._key):
            raise Refused(
                "/metrics needs its own key, that of FRAMEGATE_METRICS_KEY, sent as 'Authorization: Bearer KEY'"
            )
        if not self._key and not (is_local(directly=True) and self._names.is_loopback()):
            raise Refused(
                "/metrics takes direct calls to localhost only; with FRAMEGATE_METRICS_KEY set, those with that key"
            )
        models = [model.name for model in self._system.registries.poll().models]
        system = self._system
        text = page(system.metrics.folder, system.jobs, system.engines, system.ledger, models, system.disk.free)
        return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _brought(key: bytes) -> bool:
    """Say whether the request has this key, in constant time."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return compare_digest(token.strip(" ").encode("latin-1", "replace"), key) and scheme.lower() == "bearer"
