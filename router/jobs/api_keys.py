"""The table of API keys."""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from router.auth.keys import ApiKey, KeyLimits, Scope
from router.errors import is_unwritable
from router.jobs.accounts.owners import budget_of, text_of
from router.jobs.database import Database
from router.jobs.tables import api_keys

VERSION = select(func.coalesce(func.max(api_keys.c.version), 0))
NEXT = select(func.coalesce(func.max(api_keys.c.version), 0) + 1).scalar_subquery()
COUNTS = ("queued", "running", "per_minute")  # columns of limits
BUDGETS = ("gpu_seconds", "cost")
PLAIN = ("id", "name", "owner", "digest", "expires_at")  # columns that hold a field of a new key as it is


class ApiKeyStore:
    """The API keys, revoked ones included; every change raises `version`."""

    # a key is revoked, never deleted, so that its name is never reused

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, key: ApiKey) -> ApiKey | None:
        """Store a key and return it with its number; None for a used name."""
        row = {name: getattr(key, name) for name in PLAIN} | _limit_columns(key.limits)
        row |= {"scopes": " ".join(sorted(key.scopes)), "created_at": time.time()}
        try:
            with self._db.write() as db:
                added = db.execute(insert(api_keys).values(version=NEXT, **row).returning(api_keys)).mappings().one()
        except IntegrityError as error:
            if is_unwritable(error):
                raise
            return None
        return _key_of(added)

    def all(self) -> tuple[ApiKey, ...]:
        """Return all keys in order of creation."""
        return tuple(map(_key_of, self._db.rows(select(api_keys).order_by(api_keys.c.number))))

    def version(self) -> int:
        """Return a number that grows with every change, 0 without keys; a cheap query."""
        with self._db.read() as db:
            return db.scalar(VERSION) or 0

    def revoke(self, name: str) -> ApiKey | None:
        """Revoke the key and return it; None for an unknown or revoked name."""
        return self._change((api_keys.c.name == name) & api_keys.c.revoked_at.is_(None), revoked_at=time.time())

    def limit(self, name: str, limits: KeyLimits) -> ApiKey | None:
        """Change a key's limits and return the key; None for an unknown name."""
        return self._change(api_keys.c.name == name, **_limit_columns(limits))

    def find(self, name: str) -> ApiKey | None:
        return next(map(_key_of, self._db.rows(select(api_keys).where(api_keys.c.name == name))), None)

    def _change(self, which: ColumnElement[bool], **values: Any) -> ApiKey | None:
        change = update(api_keys).where(which).values(version=NEXT, **values).returning(api_keys)
        row = self._db.change(lambda db: db.execute(change).mappings().first())
        return _key_of(row) if row is not None else None


def _key_of(row: Mapping[Any, Any]) -> ApiKey:
    return ApiKey(
        **{name: row[name] for name in (*PLAIN, "created_at", "revoked_at", "number")},
        scopes=frozenset(map(Scope, row["scopes"].split())),
        limits=KeyLimits(*(row[name] for name in COUNTS), *(budget_of(row[name]) for name in BUDGETS)),
    )


def _limit_columns(limits: KeyLimits) -> dict[str, Any]:
    budgets = {name: text_of(getattr(limits, name)) for name in BUDGETS}
    return {**{name: getattr(limits, name) for name in COUNTS}, **budgets}
