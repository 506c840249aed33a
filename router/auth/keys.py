"""API keys: their scopes, owners, limits and digests.

A key's text is `fg-` and 43 characters of base64url, 256 random bits; the first eight characters are its id. Only
the SHA-256 of the text is kept: slow hashes are for passwords, which can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from router.accounting.budgets import Budget, Budgets

PREFIX = "fg-"
LOCAL = "local"  # the owner of all jobs on a server without keys
TEXT = re.compile(r"fg-[A-Za-z0-9_-]{43}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = len(PREFIX) + 8


class Scope(StrEnum):
    """A permission of a key; `admin` permits everything, with everybody's jobs."""

    GENERATE = "generate"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class KeyLimits:
    """Limits of queued jobs, running jobs and calls a minute, and budgets.

    None: no limit.
    """

    queued: int | None = None
    running: int | None = None
    per_minute: int | None = None
    gpu_seconds: Budget | None = None
    cost: Budget | None = None

    @property
    def budgets(self) -> Budgets:
        return Budgets(self.gpu_seconds, self.cost)

    def over(self, others: KeyLimits) -> KeyLimits:
        """Return these limits, with those of `others` where these are None."""
        own = {name: limit for name, limit in vars(self).items() if limit is not None}
        return replace(others, **own)


@dataclass(frozen=True)
class ApiKey:
    """A stored key; times are seconds since 1970.

    `number` is never another key's, not even after a deletion.
    """

    id: str
    name: str
    owner: str
    scopes: frozenset[Scope]
    digest: str = field(repr=False)
    limits: KeyLimits = KeyLimits()
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    number: int = 0

    @property
    def listed_scopes(self) -> tuple[Scope, ...]:
        return tuple(scope for scope in Scope if scope in self.scopes)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_of(self, text: str) -> bool:
        """Compare a text with this key's, in constant time."""
        return hmac.compare_digest(self.digest, digest(text))

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def state(self, now: float) -> str:
        return "revoked" if self.revoked_at is not None else "expired" if self.expired(now) else "active"

    def limited(self, defaults: KeyLimits) -> ApiKey:
        return replace(self, limits=self.limits.over(defaults))


def new_text() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def new_key(text: str, name: str, owner: str, scopes: Iterable[Scope]) -> ApiKey:
    return ApiKey(id_of(text), name, owner, frozenset(scopes), digest(text))


def id_of(text: str) -> str:
    """Return the public part of a key's text."""
    return text[:_ID]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
