"""Where a request comes from: through a trusted proxy, or from this machine."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from flask import request

from router.runtime.variables import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROXIED = "framegate.proxied"  # key of the environment: a trusted proxy has forwarded this request
HEADERS = ("forwarded", "via", "x-real-ip")  # and all of x-forwarded-


class Proxies:
    """WSGI middleware: trusts `X-Forwarded-For` from unix sockets and `trusted` networks.

    `REMOTE_ADDR` becomes its last address, the one that the proxy has seen; other peers' headers are ignored.
    (gunicorn handles `X-Forwarded-Proto`, by the same rule.)
    """

    def __init__(self, app: WSGIApplication, trusted: tuple[Network, ...]) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        caller = _parsed(environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip())
        if caller and self._trusts(environ.get("REMOTE_ADDR", "")):
            environ |= {"REMOTE_ADDR": str(caller), PROXIED: True}
        return self._app(environ, start_response)

    def _trusts(self, peer: str) -> bool:
        if not peer:
            return True  # the peer of a unix socket has no address
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._trusted)


def is_forwarded(headers: Iterable[tuple[str, str]]) -> bool:
    """Say whether any proxy, trusted or not, has forwarded these headers."""
    names = (name.lower() for name, _ in headers)
    return any(name in HEADERS or name.startswith("x-forwarded-") for name in names)


def is_local(*, directly: bool = False) -> bool:
    """Say whether the request comes from this machine; `directly`: over loopback, through no proxy."""
    address = request.remote_addr or ""
    # a unix socket has no addresses, and the proxy in front of it may name none
    if directly and (is_forwarded(request.headers) or not is_loopback(address)):
        return False
    if PROXIED in request.environ and not is_loopback(address):
        return False
    served = listener()
    return not isinstance(served, tuple) or is_loopback(served[0])


def listener() -> tuple[str, int] | str | bytes | None:
    """Return the listener's address: host and port, or a unix socket's path.

    None under another server than gunicorn.
    """
    socket = request.environ.get("gunicorn.socket")
    found: tuple[str, int] | str | bytes | None = socket.getsockname() if socket else None
    return found


def is_loopback(address: str) -> bool:
    """Say whether text is an IP address of loopback, also as IPv4 in IPv6."""
    parsed = _parsed(address.partition("%")[0])  # without an IPv6 zone
    return parsed is not None and parsed.is_loopback


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address, IPv4 in IPv6 as IPv4; return None for other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
