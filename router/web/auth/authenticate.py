"""Who calls: a key, whoever has a link, or, where nobody needs a key, anybody on this machine."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from ipaddress import ip_address

from flask import request

from router.auth.keys import LOCAL, TEXT, ApiKey, Scope
from router.auth.signed_urls import Links
from router.errors import RateLimited, Refused, Unauthorized
from router.runtime import clock
from router.web.auth.key_cache import KeyCache
from router.web.auth.rate_limit import Rates
from router.web.http.host_names import HostNames
from router.web.http.proxies import PROXIED, is_forwarded

HEALTH = ("/healthz", "/readyz")  # for load balancers, which name no host, or one of their own
OPEN = (*HEALTH, "/docs", "/openapi.json", "/metrics")  # the last has a key of its own
READING = ("GET", "HEAD", "OPTIONS")
BEARER = re.compile("bearer +([^ ]+) *", re.IGNORECASE)
HOW = "send the header 'Authorization: Bearer KEY'"


@dataclass(frozen=True)
class Caller:
    """`owner` is whose the jobs are that it makes, `sees` whose it sees: None is everybody."""

    owner: str
    sees: str | None
    key: ApiKey | None = None


ANYBODY = Caller(LOCAL, LOCAL)
SIGNED_LINK = Caller(LOCAL, None)  # its signature is good for one path


class Authenticator:
    """Lets callers in or raises: `Unauthorized`, `Refused` or `RateLimited`. The store is neither asked nor written."""

    def __init__(self, ring: KeyCache, links: Links, rates: Rates, names: HostNames, *, no_auth: bool) -> None:
        self._ring = ring
        self._links = links
        self._rates = rates
        self._names = names
        self._no_auth = no_auth

    def identify(self) -> Caller:
        """Return who sends this request, once it is allowed to."""
        path = request.path.rstrip("/") or "/"
        if path in HEALTH:
            return ANYBODY
        self._names.check_form()
        if not self._ring.needed():
            self._check_names()
            if not self._no_auth and path not in OPEN:
                _refuse_strangers()
            return ANYBODY
        if path in OPEN:
            return ANYBODY
        if request.method in READING and self._links.open(request.path, request.args):
            return SIGNED_LINK
        key = self._key()
        self._count(key)
        scope = Scope.READ if request.method in READING else Scope.GENERATE
        if not key.may(scope):
            raise Refused(f"this needs a key of scope {scope}, the key sent has {' and '.join(sorted(key.scopes))}")
        return Caller(key.owner, None if key.may(Scope.ADMIN) else key.owner, key)

    def _check_names(self) -> None:
        """Refuse what a browser of this machine may have been led to send.

        Over a unix socket no browser comes, unless a proxy brings it. With `no_auth` a server that others reach is
        known under any name, as long as none is listed; on loopback it is not.
        """
        brought, name = PROXIED in request.environ, _listener()
        if self._no_auth and not self._names.listed and (brought or not isinstance(name, tuple) or not _inner(name)):
            return
        if name is None or isinstance(name, tuple) or is_forwarded(request.headers):
            self._names.check_host()
        self._names.check_page()

    def _key(self) -> ApiKey:
        header = request.headers.get("authorization")
        if header is None and "signature" in request.args:
            raise Refused("this link is not as it was made here: GET the response again for a fresh one")
        if header is None:
            raise _unauthorized(f"this server needs a key: {HOW}")
        bearer = BEARER.fullmatch(header)
        if bearer is None or not TEXT.fullmatch(bearer[1]):
            raise _unauthorized(f"what came as a key is none: {HOW}")
        key = self._ring.find(bearer[1])
        if key is None:
            raise _unauthorized("this key is not known here")
        if (state := key.state(time.time())) != "active":
            raise _unauthorized(f"this key is {state}")
        return key

    def _count(self, key: ApiKey) -> None:
        if (most := key.limits.per_minute) is None:
            return
        if wait := self._rates.take(key.number, most, clock.now()):
            seconds = math.ceil(wait)
            message = f"this key may call {most} times a minute; it may again in {seconds} s"
            raise RateLimited(message, headers=(("retry-after", str(seconds)),))


def _unauthorized(message: str) -> Unauthorized:
    return Unauthorized(message, headers=(("www-authenticate", "Bearer"),))


def _refuse_strangers() -> None:
    """Refuse who came neither over loopback nor a unix socket, and whom a proxy brought from elsewhere."""
    brought = PROXIED in request.environ and not _loopback(request.remote_addr or "")
    name = _listener()
    if brought or (isinstance(name, tuple) and not _inner(name)):
        raise Refused(
            "this server takes requests from this machine only, as nobody has a key: "
            "'framegate keys create' makes one, FRAMEGATE_NO_AUTH=1 does without"
        )


def _listener() -> tuple[str, int] | str | bytes | None:
    """Return the address that this request came to: host and port, a unix socket's path, or None outside gunicorn."""
    socket = request.environ.get("gunicorn.socket")
    found: tuple[str, int] | str | bytes | None = socket.getsockname() if socket else None
    return found


def _inner(listener: tuple[str, int]) -> bool:
    return _loopback(listener[0].split("%")[0])


def _loopback(address: str) -> bool:
    return ip_address(address).is_loopback
