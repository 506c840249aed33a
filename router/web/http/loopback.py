"""Requests from this machine: over loopback or a unix socket."""

from __future__ import annotations

from ipaddress import ip_address

from flask import request

from router.web.http.proxies import PROXIED, is_forwarded


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
    try:
        parsed = ip_address(address.partition("%")[0])  # without an IPv6 zone
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
