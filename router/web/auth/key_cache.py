"""The API keys in a web process's memory."""

import time
from collections.abc import Mapping
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from router.auth.keys import ApiKey, id_of
from router.errors import is_outage
from router.jobs import ApiKeyStore
from router.settings import Settings

FRESH_SECONDS = 0.5  # between two looks for changes; a revoked key opens nothing after this long


class KeyCache:
    """Every API key, read again after a change; a request costs no query.

    While a shared store is out of reach, the keys last read are good.
    """

    def __init__(self, store: ApiKeyStore, settings: Settings) -> None:
        self._store = store
        self._no_auth = settings.no_auth
        self._defaults = settings.key_limits
        self._keys: Mapping[str, ApiKey] = {}
        self._version = 0
        self._is_read = False
        self._looked_at = float("-inf")
        self._lock = Lock()

    def needed(self) -> bool:
        if self._no_auth:
            return False
        self._refresh()
        return self._version > 0  # from the first key on, also when all are revoked

    def find(self, text: str) -> ApiKey | None:
        """Return a text's key with all its limits, also if revoked or expired."""
        self._refresh()
        key = self._keys.get(id_of(text))
        return key if key is not None and key.is_of(text) else None

    def _refresh(self) -> None:
        # who knows keys waits for no look of another thread: at a silent store it lasts for seconds
        if not self._lock.acquire(blocking=not self._is_read):
            return
        try:
            if time.monotonic() - self._looked_at >= FRESH_SECONDS:
                self._look()
        finally:
            self._lock.release()

    def _look(self) -> None:
        try:
            self._read()
        except SQLAlchemyError as error:
            if not (self._is_read and is_outage(error)):
                raise
        self._looked_at = time.monotonic()

    def _read(self) -> None:
        version = self._store.version()
        if version != self._version:
            self._keys = {key.id: key.limited(self._defaults) for key in self._store.all()}
            self._version = version
        self._is_read = True
