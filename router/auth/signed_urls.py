"""Signed URLs of files, for clients that send no key: browsers, `urlretrieve`, `<video>`."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import urlencode

from router.errors import Refused
from router.runtime.files import create_file, sync_folder

EXPIRES = re.compile("[0-9]{1,12}")


class SignedUrls:
    """Signs paths with HMAC-SHA256 and the secret of a server.

    A link opens its path, with any `variant`, until it expires or the job is deleted, whatever becomes of the key
    that got it. Removing the secret, and a restart, end all links.
    """

    # By hand, as itsdangerous would save two lines and lose three things: its TimestampSigner judges a link's age by
    # the reader's setting instead of the link's own expiry, its base64 has spare bits, so that some changed signatures
    # still open, and links of older versions would end.

    def __init__(self, secret: Callable[[], bytes], *, seconds: float, needed: Callable[[], bool]) -> None:
        self._read_secret = secret
        self._seconds = seconds
        self._needed = needed

    def sign(self, path: str) -> str:
        """Return a link to a path; the path itself on a server without keys."""
        if not self._needed():
            return path
        expires = str(int(time.time() + self._seconds))
        return f"{path}?{urlencode({'expires': expires, 'signature': self._signature(path, expires)})}"

    def opens(self, path: str, query: Mapping[str, str]) -> bool:
        """Say whether `query` opens `path`; raise `Refused` for an expired link."""
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if not EXPIRES.fullmatch(expires):
            return False
        if not hmac.compare_digest(self._signature(path, expires).encode(), signature.encode("utf-8", "replace")):
            return False
        if int(expires) <= time.time():
            raise Refused("this link has expired: GET the response again for a fresh one")
        return True

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    @cached_property
    def _secret(self) -> bytes:
        return self._read_secret()


def new_secret() -> bytes:
    return secrets.token_bytes(32)


def secret_in(path: Path) -> bytes:
    """Return the secret in a file, made by the first process that needs it."""
    if path.exists():
        sync_folder(path.parent)  # the process that has just made it may not have synced it yet
    else:
        create_file(path, new_secret())
    return path.read_bytes()
