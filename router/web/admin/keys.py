"""`/admin/keys`: the API keys, their limits, and what they have used."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, jsonify

from router.accounting.ledger_rows import LedgerSum, totals
from router.auth.keys import ApiKey
from router.system import System
from router.values import Outcome
from router.web.access import require_admin
from router.web.answer_fields import Answer, constant, enum, integer, nested, number, one_of, string, strings
from router.web.model_answers import KeyLimits
from router.web.openapi.operations import Example, Routes, ok
from router.web.usage.budgets import BudgetAnswer, budgets_by_key
from router.web.usage.views import USUAL_DAYS

ROUTES = Routes("Admin")
DONE = (Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED)


class KeyUsage(Answer):
    """What the jobs of a key used together."""

    jobs = integer("how many ended")
    gpu_seconds = number("of their own work on a device")
    cost = number("the seconds times the price of the model when each job was accepted")


class KeyEntry(Answer):
    """An API key; the server keeps no text of it."""

    id = string("the first characters of its text", examples=["fg-x1y2z3a4"])
    name = string("its name")
    owner = string("whose jobs it makes and sees")
    scopes = strings("what it may do: `generate`, `read`, `admin`")
    state = enum("whether it opens anything", "active", "revoked", "expired")
    created_at = integer("seconds since 1970")
    expires_at = integer("seconds since 1970, null for never", none=True)
    limits = nested(KeyLimits, "its limits, the server's defaults included")
    usage = nested(KeyUsage, f"in the last {USUAL_DAYS} days")
    budgets = one_of("its budgets and those of its owner, none where it opens nothing", BudgetAnswer)


class Keys(Answer):
    object = constant("its kind", "list")
    data = one_of("the keys in order of creation, revoked ones too", KeyEntry)


KEYS, KEY = Keys(), KeyEntry()
NOTHING = LedgerSum()


class KeyViews:
    def __init__(self, system: System) -> None:
        self._system = system

    @ROUTES.add("GET /admin/keys", ok("the keys", Keys), examples=(Example("all"),))
    def list_keys(self) -> Response:
        """List the API keys with their limits, budgets and usage.

        `framegate keys` makes, changes and revokes them.
        """
        require_admin()
        today = datetime.now(UTC).date()
        since = today - timedelta(USUAL_DAYS - 1)
        rows = self._system.ledger.rows_by_key(since.isoformat(), today.isoformat())
        used = {key: found for (key,), found in totals(rows, ("key",))}
        keys = self._system.keys.all()
        budgets = budgets_by_key(self._system.budgets, {key.id: key.owner for key in keys if _state(key) == "active"})
        data = [self._entry(key, used.get(key.id, NOTHING), budgets.get(key.id, [])) for key in keys]
        return jsonify(KEYS.dump({"data": data}))

    def _entry(self, key: ApiKey, found: LedgerSum, budgets: list[dict[str, Any]]) -> dict[str, Any]:
        limited = key.limited(self._system.settings.key_limits)
        usage = {
            "jobs": sum(found.jobs[outcome] for outcome in DONE),
            "gpu_seconds": round(found.used.gpu_seconds, 3),
            "cost": round(found.used.cost, 6),
        }
        return KEY.dump(
            {
                **vars(limited),
                "created_at": int(key.created_at),
                "expires_at": None if key.expires_at is None else int(key.expires_at),
                "scopes": key.listed_scopes,
                "state": _state(key),
                "usage": usage,
                "budgets": budgets,
            }
        )


def _state(key: ApiKey) -> str:
    return key.state(time.time())
