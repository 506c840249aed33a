"""The view of `/v1/usage`."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from flask import Response, jsonify, request

from registry import ModelSpec
from router.accounting.ledger_rows import LOAD, LedgerRow
from router.auth.keys import ApiKey
from router.system import System
from router.web.access import caller, owner
from router.web.http import query
from router.web.http.fields import invalid_value
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Routes, ok
from router.web.openapi.parameters import in_query
from router.web.usage.answers import UsageReport, render
from router.web.usage.budgets import budgets_of

ROUTES = Routes("Usage")
USUAL_DAYS, MOST_DAYS = 30, 366
SINCE = in_query("since", "the first day (UTC); without it 30 days up to the last", type="string", format="date")
UNTIL = in_query("until", "the last day (UTC), today without it", type="string", format="date")
MODEL = in_query("model", "the rows of one model", type="string")
KEY = in_query("key", "the rows of one key, by its name or id", type="string")
OWNER = in_query("owner", "the rows of one owner", type="string")
PARAMETERS = (SINCE, UNTIL, MODEL, KEY, OWNER)


class UsageViews:
    """Reads the ledger for its callers."""

    def __init__(self, system: System) -> None:
        self._system = system

    @ROUTES.add(
        "GET /v1/usage",
        ok("the usage", UsageReport),
        parameters=PARAMETERS,
        problems=(why.BAD_VALUE, why.UNKNOWN_PARAMETER),
        examples=(Example("the last 30 days"), Example("of one model", query="?model=wan-nano-t2v")),
    )
    def get_usage(self) -> Response:
        """Read what was used, by day, owner, key and model, and the budgets.

        A key sees what its owner used, one of scope `admin` what everybody did. A job counts on the day on which it
        ended, and stays here when it is deleted. A report covers at most 366 days. The
        budgets are those of the key that asks and of its owner, with what is left of them.
        """
        query.require_known(*(parameter["name"] for parameter in PARAMETERS))
        since, until = _days(datetime.now(UTC).date())
        keys = [key for key in self._system.keys.all() if owner() in (None, key.owner)]
        rows = self._rows(since.isoformat(), until.isoformat(), _key_id(keys))
        names = {key.id: key.name for key in keys}
        key = caller().key
        budgets = budgets_of(self._system.budgets, caller().owner, key.id if key else None)
        return jsonify(render(since.isoformat(), until.isoformat(), rows, names, budgets))

    def _rows(self, since: str, until: str, key: str | None) -> Sequence[LedgerRow]:
        sees, wanted = owner(), request.args.get("owner")
        if sees is not None and wanted not in (None, sees):
            return ()
        model = request.args.get("model")
        entry = self._system.registries.poll().find(model) if model else None
        model = entry.name if isinstance(entry, ModelSpec) else model  # an alias
        rows = self._system.ledger.rows(since, until, owner=sees or wanted, key=key, model=model)
        return [row for row in rows if sees is None or row.outcome != LOAD]


def _days(today: date) -> tuple[date, date]:
    """Return the first and the last day of the report."""
    until = query.day("until", today)
    since = query.day("since", date.fromordinal(max(until.toordinal() - USUAL_DAYS + 1, 1)))
    if since > until or (until - since).days >= MOST_DAYS:
        before = f"a day up to {until}, the last one, and at most {MOST_DAYS - 1} days before it"
        raise invalid_value("since", before, since.isoformat())
    return since, until


def _key_id(keys: Sequence[ApiKey]) -> str | None:
    """Return the id of the key in the query, None without one."""
    text = request.args.get("key")
    if text is None:
        return None
    found = next((key.id for key in keys if text in (key.name, key.id)), None)
    if found is None:
        raise invalid_value("key", "the name or id of a key whose usage this key may see", text)
    return found
