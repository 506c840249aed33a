"""The host names that this server answers to, and the web pages that may call it.

Without keys a server on loopback trusts every process of its machine, and a browser is one: a page of another site
can send it requests, and can read the answers where that site's own name is made to lead here (DNS rebinding).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from flask import request

from router.errors import Refused
from router.settings import Settings

HOST = r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?"  # no user, no zone, no other alphabet
AUTHORITY = re.compile(HOST, re.IGNORECASE | re.ASCII)
ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{HOST}", re.IGNORECASE | re.ASCII)
PAGE = re.compile(rf"[a-z][a-z0-9+.-]*://{HOST}(?:[/?#].*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain")  # sent without asking first
SAFE = ("GET", "HEAD", "OPTIONS")
ADVICE = "FRAMEGATE_ALLOWED_HOSTS lists others"


class HostNames:
    """Loopback's names, the public URL's and those of `FRAMEGATE_ALLOWED_HOSTS`; each with any port.

    `listed` says whether the last are any.
    """

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url)
        self._public = public.netloc
        self.listed = bool(settings.allowed_hosts)
        self._listed = frozenset({*settings.allowed_hosts, (public.hostname or "").rstrip(".")} - {""})

    def check_host(self) -> None:
        """Raise `Refused` where the request is for a host of another name: its Host, or its absolute URL."""
        for named in (request.environ.get("HTTP_HOST"), *_absolute()):
            if not self._ours(AUTHORITY, named):
                shown = f"got {named[:100]!r}" if named else "got none"
                raise Refused(f"this server is reached as localhost only, as nobody needs a key, {shown}: {ADVICE}")

    def check_page(self) -> None:
        """Raise `Refused` where a web page of another site sends the request, whatever it is.

        A link that a person follows is none, nor is what a page of an allowed host shows, such as a video.
        """
        origin = request.headers.get("origin")
        if origin is None and request.headers.get("sec-fetch-site", "").lower() == "cross-site":
            if self._ours(PAGE, request.headers.get("referer")) or _followed():
                return
            origin = "another site"
        elif origin is None or self._ours(ORIGIN, origin):
            return
        raise Refused(
            f"requests come from pages of this machine only, as nobody needs a key, got one of {origin[:100]}: {ADVICE}"
        )

    def check_form(self) -> None:
        """Raise `Refused` for a web page's form that is not this server's own.

        Browsers ask before they send JSON elsewhere, but not before they send a form: any page could have
        videos made on its reader's machine.
        """
        origin = request.headers.get("origin")
        if request.method in SAFE or request.mimetype not in FORMS or origin is None:
            return
        own = origin.partition("://")[2] in {request.host, self._public} - {""}
        if not own and self._name(ORIGIN, origin) not in self._listed:
            raise Refused(
                f"a form must come from a page of this server, or from no page at all, got one of {origin[:100]}"
            )

    def is_loopback(self) -> bool:
        """Say whether the request's Host is loopback's, or one that is listed."""
        return self._ours(AUTHORITY, request.environ.get("HTTP_HOST"))

    def _ours(self, pattern: re.Pattern[str], text: str | None) -> bool:
        name = self._name(pattern, text)
        return name is not None and (name in self._listed or _is_loopback(name))

    def _name(self, pattern: re.Pattern[str], text: str | None) -> str | None:
        """Return the host's name in lower case, without brackets and the dot of the root; None for what is none."""
        found = pattern.fullmatch(text or "")
        return found[1].lower().removesuffix(".").strip("[]") if found else None


def _is_loopback(name: str) -> bool:
    """Say whether a name leads to this machine only; of addresses those in their usual spelling."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _absolute() -> tuple[str, ...]:
    """Return the host of a whole URL in the request's line: it is the one meant, whatever Host says."""
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "/"
    if target.startswith("/") or target == "*":
        return ()
    return (urlsplit(target).netloc or target,)


def _followed() -> bool:
    """Say whether a person has followed a link: what comes back fills a window of its own, and no page reads it."""
    mode, target = (request.headers.get(f"sec-fetch-{name}", "").lower() for name in ("mode", "dest"))
    return request.method in SAFE and mode == "navigate" and target == "document"
