"""Fetching of images by URL, bounded in hosts, redirects, seconds and bytes.

No proxy, cookie or credential of this machine takes part: a proxy would look names up for itself.
"""

from __future__ import annotations

import logging
import re
import ssl
from functools import cached_property
from typing import TYPE_CHECKING

from router.errors import TooManyWaiters
from router.media.addresses import Deadline, Resolver, is_public
from router.media.header import MAX_BYTES, about, invalid
from router.media.hosts import Hosts, Target, refused
from router.runtime.fair_slots import Slots

if TYPE_CHECKING:
    from httpcore2 import Response

AT_A_TIME = 8
MAX_WAITING = 16  # fewer, with those eight, than the threads of a process that are kept free
WAIT_SECONDS = 10.0
FETCH_SECONDS = 20.0
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = (
    ("User-Agent", "framegate"),
    ("Accept", "image/png, image/jpeg, image/webp, image/avif;q=0.9, image/heic;q=0.9, */*;q=0.1"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)
log = logging.getLogger(__name__)


def is_remote(url: str) -> bool:
    """Say whether `url` has a scheme other than `data:`."""
    scheme = re.match(r"\s*([a-z][a-z0-9+.-]*):", url, re.IGNORECASE)
    return scheme is not None and scheme[1].lower() != "data"


class Fetcher:
    """A client for images: eight at a time, four of each owner."""

    def __init__(self, hosts: Hosts, *, seconds: float = FETCH_SECONDS, wait_seconds: float = WAIT_SECONDS) -> None:
        self._hosts = hosts
        self._seconds = seconds
        self._slots = Slots(AT_A_TIME, MAX_WAITING, wait_seconds)
        self._resolver = Resolver(AT_A_TIME)

    def fetch(self, url: str, *, owner: str = "", param: str = "", limit: int = MAX_BYTES) -> bytes:
        """Return the body at `url`, at most `limit` bytes of any type.

        Raise `InvalidRequest` about `param`, with the code `image_url_refused` for a host that is not allowed (see
        `Hosts`), else `invalid_image`; `TooManyWaiters` where `owner` gets no slot within `wait_seconds`.
        """
        with about(param):
            target = self._hosts.target(url)
            with self._slots.take(owner) as taken:
                if not taken:
                    raise TooManyWaiters(
                        f"{AT_A_TIME} images are being fetched by this process, its limit, or {AT_A_TIME // 2} of "
                        "yours, and others wait; send this request again later, or the image as a data: URL"
                    )
                return self._follow(target, Deadline(self._seconds), limit, owner)

    def _follow(self, target: Target, deadline: Deadline, limit: int, owner: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(target, deadline, limit, owner)
            if isinstance(answer, bytes):
                return answer
            target = self._hosts.target(answer, target)
        raise invalid(f"an image's URL may redirect up to {MAX_REDIRECTS} times, got more")

    def _get(self, target: Target, deadline: Deadline, limit: int, owner: str) -> bytes | str:
        """Return the body of the answer, or the URL of a redirect."""
        import httpcore2

        from router.media.pinned_connection import PinnedBackend

        context = self._context
        url = httpcore2.URL(scheme=target.url.scheme, host=target.host, port=target.port, target=target.url.raw_path)
        try:
            pinned = PinnedBackend(self._addresses(target, deadline, owner), deadline)
            connection = httpcore2.HTTPConnection(url.origin, ssl_context=context, network_backend=pinned)
            headers = (("Host", target.authority), *HEADERS)
            with connection, connection.stream("GET", url, headers=headers) as response:
                return _read(response, limit)
        except (OSError, httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            log.info("no image could be fetched from %s: %s: %s", target.host, type(error).__name__, error)
            raise invalid(f"an image's URL must lead to {self._needed(error)}") from error

    def _addresses(self, target: Target, deadline: Deadline, owner: str) -> list[str]:
        addresses = self._resolver.addresses(target.host, target.port, deadline, owner)
        inner = [address for address in addresses if not is_public(address)]
        if inner and not target.listed:
            log.info("no image is fetched from %s, which is at %s", target.host, ", ".join(inner))
            raise refused("an image's URL must lead to public addresses, got one that leads elsewhere")
        return addresses

    def _needed(self, error: Exception) -> str:
        import httpcore2

        if isinstance(error, TimeoutError | httpcore2.TimeoutException):
            return f"an answer within {self._seconds:g} seconds, got none in time"
        if isinstance(error, httpcore2.ProtocolError):
            return "a whole HTTP answer, got something else"
        if isinstance(error.__cause__, ssl.SSLError):
            return "a host whose certificate is valid for it, got another"
        return "a host that can be found and reached, got none"

    @cached_property
    def _context(self) -> ssl.SSLContext:
        import httpcore2

        # certificates are checked against the system's authorities, or those of SSL_CERT_FILE
        return httpcore2.default_ssl_context()


def _read(response: Response, limit: int) -> bytes | str:
    headers = {name.lower(): value for name, value in response.headers}  # whose form the HTTP library has checked
    if response.status in REDIRECTS and b"location" in headers:
        return headers[b"location"].decode("utf-8", "replace")
    if response.status != 200:
        raise invalid(f"an image's URL must be answered with status 200, got {response.status}")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise invalid("an image must come without content-encoding, as was asked, got one that is encoded")
    if (size := int(headers.get(b"content-length", 0))) > limit:
        raise invalid(f"an image may have up to {limit:,} bytes, got {size:,}")
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > limit:
            raise invalid(f"an image may have up to {limit:,} bytes, got more")
    return bytes(body)
