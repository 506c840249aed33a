"""Links to files that need no key: browsers, `urlretrieve` and `<video>` send none."""

from __future__ import annotations

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


class Links:
    """Signs paths with HMAC-SHA256 and a secret that is made once for a data folder.

    A link opens the path that it was made for, with any `variant`, until it expires or the job is deleted, whatever
    becomes of the key that got it. Removing the file of the secret, and a restart, end all of them.
    """

    def __init__(self, secret: Path, *, seconds: float, needed: Callable[[], bool]) -> None:
        self._path = secret
        self._seconds = seconds
        self._needed = needed

    def to(self, path: str) -> str:
        """Return a link to a path, the path as it is where nobody needs a key."""
        if not self._needed():
            return path
        expires = str(int(time.time() + self._seconds))
        return f"{path}?{urlencode({'expires': expires, 'signature': self._sign(path, expires)})}"

    def open(self, path: str, query: Mapping[str, str]) -> bool:
        """Say whether `query` makes a link of `path`; raise `Refused` where it was one and has expired."""
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if not EXPIRES.fullmatch(expires):
            return False
        if not hmac.compare_digest(self._sign(path, expires).encode(), signature.encode("utf-8", "replace")):
            return False
        if int(expires) <= time.time():
            raise Refused("this link has expired: GET the response again for a fresh one")
        return True

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    @cached_property
    def _secret(self) -> bytes:
        """Read the secret, and make it first where there is none; of several processes that do, one is first."""
        if self._path.exists():
            sync_folder(self._path.parent)  # the process that has just made it may not have synced it yet
        else:
            create_file(self._path, secrets.token_bytes(32))
        return self._path.read_bytes()
