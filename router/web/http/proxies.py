"""Who really called, where a proxy that we trust stands between us and them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from router.runtime.variables import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROXIED = "framegate.proxied"  # of the environment: a proxy that we trust brought this request
HEADERS = ("forwarded", "via", "x-real-ip")  # and all that begin with x-forwarded-


class Proxies:
    """WSGI middleware that believes `X-Forwarded-For` of `trusted` networks and of whoever may use our unix socket.

    `REMOTE_ADDR` becomes the last address in it, the one that the proxy itself has seen. From anybody else the
    header means nothing. (`X-Forwarded-Proto` is gunicorn's, by the same rule.)
    """

    def __init__(self, app: WSGIApplication, trusted: tuple[Network, ...]) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        caller = _address(environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip())
        if caller and self._trusts(environ.get("REMOTE_ADDR", "")):
            environ |= {"REMOTE_ADDR": caller, PROXIED: True}
        return self._app(environ, start_response)

    def _trusts(self, peer: str) -> bool:
        if not peer:
            return True  # gunicorn knows no address of a unix socket's peer
        address = _address(peer)
        return bool(address) and any(ip_address(address) in network for network in self._trusted)


def is_forwarded(headers: Iterable[tuple[str, str]]) -> bool:
    """Say whether a proxy, trusted or not, has passed on a request with these headers."""
    names = (name.lower() for name, _ in headers)
    return any(name in HEADERS or name.startswith("x-forwarded-") for name in names)


def _address(text: str) -> str:
    """Return an IP address in its usual form, '' for anything else; IPv4 in IPv6 is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)
