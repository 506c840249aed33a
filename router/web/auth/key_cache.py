"""The API keys in the memory of a web process: a request costs no query."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock

from router.auth.keys import ApiKey, id_of
from router.jobs import ApiKeyStore
from router.settings import Settings

FRESH_SECONDS = 0.5  # a key that was revoked opens nothing after this long


class KeyCache:
    """Asks the store, at most twice a second, whether any key has changed, and reads them all when one has."""

    def __init__(self, store: ApiKeyStore, settings: Settings) -> None:
        self._store = store
        self._no_auth = settings.no_auth
        self._defaults = settings.key_limits
        self._keys: Mapping[str, ApiKey] = {}
        self._version = 0
        self._looked = float("-inf")
        self._lock = Lock()

    def needed(self) -> bool:
        """Say whether callers need a key: they do from the first that was made, even when all are revoked."""
        if self._no_auth:
            return False
        self._look()
        return self._version > 0

    def find(self, text: str) -> ApiKey | None:
        """Return the key of a text, revoked or expired ones too, with every limit that holds; None if there is none."""
        self._look()
        key = self._keys.get(id_of(text))
        return key if key is not None and key.is_of(text) else None

    def _look(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < FRESH_SECONDS:
                return
            version = self._store.version()
            if version != self._version:
                self._keys = {key.id: key.limited(self._defaults) for key in self._store.all()}
                self._version = version
            self._looked = time.monotonic()
