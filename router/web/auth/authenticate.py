"""Authentication: a key, a signed link, or no key on this machine."""

import math
import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from flask import request

from router.auth.keys import LOCAL, TEXT, ApiKey, Scope
from router.auth.signed_urls import SignedUrls
from router.errors import RateLimited, Refused, Unauthorized
from router.runtime import clock
from router.web.auth.key_cache import KeyCache
from router.web.auth.rate_limit import RateLimit
from router.web.http.host_names import SAFE, HostNames
from router.web.http.proxies import PROXIED, is_forwarded, is_local, is_loopback, listener

HEALTH = ("/healthz", "/health", "/readyz")  # for load balancers, which name no host, or one of their own
NOT_HERE = ("/flush_cache", "/reset_prefix_cache")  # MAX's benchmark sends no key there, and takes a 404 but no 401
OPEN = (*HEALTH, *NOT_HERE, "/version", "/docs", "/openapi.json", "/metrics")  # the last has a key of its own
BEARER = re.compile("bearer +([^ ]+) *", re.IGNORECASE)
ESTIMATE = "/v1/videos/estimate"
ESTIMATES = 4  # for each call of a key's limit: the page asks for one at each pause of a person who types
HOW = "send the header 'Authorization: Bearer KEY'"


@dataclass(frozen=True)
class Caller:
    """The `owner` of new jobs, and whose jobs the caller `sees`; None: everybody's."""

    owner: str
    sees: str | None
    key: ApiKey | None = None


ANYBODY = Caller(LOCAL, LOCAL)
SIGNED_LINK = Caller(LOCAL, None)  # its signature is good for one path


class Authenticator:
    """Identifies callers, or raises `Unauthorized`, `Refused` or `RateLimited`; without the store.

    A GET or HEAD of the paths `opened` needs no key. `rates` counts the calls of keys, `estimates` those that ask for
    an estimate.
    """

    def __init__(
        self,
        keys: KeyCache,
        links: SignedUrls,
        rates: RateLimit,
        estimates: RateLimit,
        names: HostNames,
        opened: Collection[str],
        *,
        no_auth: bool,
    ) -> None:
        self._keys = keys
        self._links = links
        self._rates = rates
        self._estimates = estimates
        self._names = names
        self._opened = opened
        self._no_auth = no_auth

    def identify(self) -> Caller:
        path = request.path.rstrip("/") or "/"
        if path in HEALTH:
            return ANYBODY
        self._names.check_form()
        is_open = path in OPEN or (path in self._opened and request.method in ("GET", "HEAD"))
        if not self._keys.needed():
            self._check_names()
            if not self._no_auth and not is_open and not is_local():
                raise Refused(
                    "without keys this server takes requests from this machine only: "
                    "'framegate keys create' makes one, FRAMEGATE_NO_AUTH=1 does without"
                )
            return ANYBODY
        if is_open:
            return ANYBODY
        if request.method in SAFE and self._links.opens(request.path, request.args):
            return SIGNED_LINK
        key = self._key()
        self._count(key)
        scope = Scope.READ if request.method in SAFE else Scope.GENERATE
        if not key.may(scope):
            raise lacks_scope(key, scope)
        return Caller(key.owner, None if key.may(Scope.ADMIN) else key.owner, key)

    def is_here(self) -> bool:
        """Return whether this request comes from this machine, and by no other site's page."""
        # whoever calls through a proxy that is not trusted is anywhere
        if not is_local() or (is_forwarded(request.headers) and PROXIED not in request.environ):
            return False
        try:
            self._check_browser()
        except Refused:
            return False
        return True

    def _check_names(self) -> None:
        """Refuse requests that another site's page may have sent through a local browser."""
        served = listener()
        on_loopback = isinstance(served, tuple) and is_loopback(served[0]) and PROXIED not in request.environ
        if self._no_auth and not self._names.listed and not on_loopback:
            return  # others reach this server, under any name
        self._check_browser()

    def _check_browser(self) -> None:
        served = listener()
        # no browser connects to a unix socket, except through a proxy
        if served is None or isinstance(served, tuple) or is_forwarded(request.headers):
            self._names.check_host()
        self._names.check_page()

    def _key(self) -> ApiKey:
        header = request.headers.get("authorization")
        if header is None and "signature" in request.args:
            raise Refused("this link is incomplete or was changed: GET the response again for a fresh one")
        if header is None:
            raise _unauthorized(f"this server needs a key: {HOW}")
        bearer = BEARER.fullmatch(header)
        if bearer is None or not TEXT.fullmatch(bearer[1]):
            raise _unauthorized(f"the header Authorization has no key of this server's form: {HOW}")
        key = self._keys.find(bearer[1])
        if key is None:
            raise _unauthorized("this key is unknown")
        if (state := key.state(time.time())) != "active":
            raise _unauthorized(f"this key is {state}")
        return key

    def _count(self, key: ApiKey) -> None:
        if (limit := key.limits.per_minute) is None:
            return
        # apart, so that a person who types is not refused the video in the end
        is_estimate = request.path.rstrip("/") == ESTIMATE
        rates, calls = (self._estimates, limit * ESTIMATES) if is_estimate else (self._rates, limit)
        if wait := rates.count(key.number, calls, clock.now()):
            seconds = math.ceil(wait)
            allowed = f"ask for {calls} estimates a minute" if is_estimate else f"call {calls} times a minute"
            message = f"this key may {allowed}; try again in {seconds} s"
            raise RateLimited(message, headers=(("retry-after", str(seconds)),))


def lacks_scope(key: ApiKey, scope: Scope) -> Refused:
    """Return the error of a request for which a key lacks the scope."""
    return Refused(f"this needs a key of scope {scope}, the key sent has {' and '.join(sorted(key.scopes))}")


def _unauthorized(message: str) -> Unauthorized:
    return Unauthorized(message, headers=(("www-authenticate", "Bearer"),))
