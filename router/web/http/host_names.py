"""Allowed host names, and allowed origins of web pages.

Without keys a server on loopback trusts every process of its machine, browsers too. A page of another site can make
one send requests, and with a host name that resolves to loopback (DNS rebinding) read the answers.
"""

import re
from urllib.parse import urlsplit

from flask import request

from router.errors import Refused
from router.settings import Settings
from router.web.http.proxies import is_loopback

HOST = r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?"  # ASCII only, no user, no zone
AUTHORITY = re.compile(HOST, re.IGNORECASE | re.ASCII)
ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{HOST}", re.IGNORECASE | re.ASCII)
PAGE = re.compile(rf"[a-z][a-z0-9+.-]*://{HOST}(?:[/?#].*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain")  # sent without a CORS preflight
SAFE = ("GET", "HEAD", "OPTIONS")
ADVICE = "FRAMEGATE_ALLOWED_HOSTS lists others"


class HostNames:
    """Names of loopback, the public URL and `FRAMEGATE_ALLOWED_HOSTS`, with any port.

    `listed` says whether the last has any.
    """

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url)
        self._public = public.netloc
        self.listed = bool(settings.allowed_hosts)
        self._listed = frozenset({*settings.allowed_hosts, (public.hostname or "").rstrip(".")} - {""})

    def check_host(self) -> None:
        """Raise `Refused` for an unknown name in the Host header or an absolute URL."""
        named = [request.environ.get("HTTP_HOST")]
        target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "/"
        if not target.startswith("/") and target != "*":
            named.append(urlsplit(target).netloc or target)  # such a URL wins over the Host header (RFC 9112 3.2.2)
        for host in named:
            if not self._allows(AUTHORITY, host):
                shown = f"got {host[:100]!r}" if host else "got none"
                raise Refused(f"without keys this server answers as localhost only, {shown}: {ADVICE}")

    def check_page(self) -> None:
        """Raise `Refused` for a request by a page of another site.

        Links that a person follows are allowed, and files that a page of an allowed host shows, such as a video.
        """
        origin = request.headers.get("origin")
        if origin is None and request.headers.get("sec-fetch-site", "").lower() == "cross-site":
            if self._allows(PAGE, request.headers.get("referer")) or _is_followed_link():
                return
            origin = "another site"
        elif origin is None or self._allows(ORIGIN, origin):
            return
        raise Refused(
            f"without keys requests may come from pages of this machine only, got one of {origin[:100]}: {ADVICE}"
        )

    def check_form(self) -> None:
        """Raise `Refused` for a form or an untyped body by another site's page."""
        # browsers send a preflight before JSON or a key, but none before these: any page could start jobs on this
        # machine, or have it do what needs no body
        origin = request.headers.get("origin")
        is_untyped = request.method == "POST" and not (request.mimetype or "authorization" in request.headers)
        is_sent_at_once = is_untyped or request.mimetype in FORMS
        if request.method in SAFE or not is_sent_at_once or origin is None:
            return
        own = origin.partition("://")[2] in {request.host, self._public} - {""}
        if not own and self._name(ORIGIN, origin) not in self._listed:
            what = "a form" if request.mimetype else "a request without a content type"
            raise Refused(
                f"{what} must come from a page of this server, or from no page at all, got one of {origin[:100]}"
            )

    def is_loopback(self) -> bool:
        return self._allows(AUTHORITY, request.environ.get("HTTP_HOST"))

    def _allows(self, pattern: re.Pattern[str], text: str | None) -> bool:
        name = self._name(pattern, text)
        is_local = name is not None and (name == "localhost" or name.endswith(".localhost") or is_loopback(name))
        return is_local or name in self._listed

    def _name(self, pattern: re.Pattern[str], text: str | None) -> str | None:
        """Return a host name without port, brackets and root dot; None if invalid."""
        found = pattern.fullmatch(text or "")
        return found[1].lower().removesuffix(".").strip("[]") if found else None


def _is_followed_link() -> bool:
    """Say whether the answer fills a window of its own, unreadable for other pages."""
    mode, target = (request.headers.get(f"sec-fetch-{name}", "").lower() for name in ("mode", "dest"))
    return request.method in SAFE and mode == "navigate" and target == "document"
