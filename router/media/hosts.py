"""The hosts of images by URL, allowed or refused before any name look-up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from router.errors import InvalidRequest

if TYPE_CHECKING:
    from httpx2 import URL

PORTS = {"http": 80, "https": 443}
MAX_CHARACTERS = 8192  # so that a request fits into any socket's buffer: sending it never waits

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")  # such names are addresses in disguise: 2130706433, 127.1, 0x7f.1
_IPV4 = re.compile(r"\d+(\.\d+){3}")


@dataclass(frozen=True)
class Target:
    """An allowed URL; `host` is without brackets and final dot, `listed` by the operator."""

    url: URL
    host: str
    port: int
    listed: bool

    @property
    def authority(self) -> str:
        """The `Host` header, which leaves the scheme's own port out."""
        return _bracketed(self.host) if self.port == PORTS[self.url.scheme] else f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True)
class Hosts:
    """The operator's rules for hosts of images.

    `listed` hosts (HOST for its ports 80 and 443, or HOST:PORT) are trusted whatever their addresses. Others are
    allowed if `public`, on ports 80 and 443, and only while all their addresses are public.
    """

    listed: frozenset[str] = frozenset()
    public: bool = True

    def target(self, url: str, after: Target | None = None) -> Target:
        """Return the target of `url`; that of a redirect is relative to `after`.

        Raise `InvalidRequest` (`image_url_refused`) for a URL that no address would make allowed.
        """
        parsed = _parsed(url, after)
        if parsed.scheme not in PORTS:
            raise refused(f"an image's URL must be https, http or data, got {parsed.scheme[:20] or 'none of them'}")
        if after is not None and (after.url.scheme, parsed.scheme) == ("https", "http"):
            raise refused("an image's URL must not lead from https to http, got a redirect that does")
        if parsed.userinfo:
            raise refused("an image's URL must not have a user name or password, got one that does")
        host = _host(parsed)
        port = PORTS[parsed.scheme] if parsed.port is None else parsed.port
        usual = port in PORTS.values()
        listed = f"{_bracketed(host)}:{port}" in self.listed or (usual and _bracketed(host) in self.listed)
        if not listed:
            self._check_unlisted(port)
        return Target(parsed, host, port, listed)

    def _check_unlisted(self, port: int) -> None:
        if not self.public and not self.listed:
            needed = "an image must come inside the request, as a data: URL"
            raise refused(f"{needed}: this server fetches none, got http(s)")
        if not self.public:
            raise refused("an image's URL must lead to a host that this server lists, got another; or send a data: URL")
        if port not in PORTS.values():
            raise refused(f"an image's URL must lead to port 80 or 443 of a host that is not listed here, got {port}")


def refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="image_url_refused")


def _parsed(url: str, after: Target | None) -> URL:
    from httpx2 import URL, InvalidURL

    if len(url) > MAX_CHARACTERS:
        raise refused(f"an image's URL may have up to {MAX_CHARACTERS:,} characters, got {len(url):,}")
    try:
        return URL(url.strip()) if after is None else after.url.join(url.strip())
    except (InvalidURL, ValueError):  # the latter: a lone surrogate, a broken bracket
        example = "https://example.org/cat.png"
        raise refused(f"an image's URL must be valid, such as {example}, got one that is not") from None


def _host(url: URL) -> str:
    """Return the host's normal form; raise unless it is a name or plain address."""
    host = url.raw_host.decode("ascii").removesuffix(".")
    if ":" in host and "%" not in host:
        return str(IPv6Address(host))  # what httpx2 lets through in brackets is one
    if _IPV4.fullmatch(host) or (_NAME.fullmatch(host) and not _NUMBER.fullmatch(host)):
        return host
    raise refused("an image's URL must have a host's name or plain address, got neither")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
