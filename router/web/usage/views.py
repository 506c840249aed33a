"""The view of `/v1/usage`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from flask import Response, jsonify, request

from registry import ModelSpec
from router.accounting.ledger_rows import SERVER, LedgerRow
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
        ended, and stays here when it is deleted. A report covers at most 366 days. Sums are of
        unrounded numbers, so that the last digit of a total may differ from that of the sum of its rows. The budgets
        are those of the key that asks and of its owner, with what is left of them; with `key` or `owner` those of
        these, where the key that asks may see them: an admin everybody's, any other its own and its owner's.
        """
        query.require_known(*(parameter["name"] for parameter in PARAMETERS))
        since, until = _days(datetime.now(UTC).date())
        keys = [key for key in self._system.keys.all() if owner() in (None, key.owner)]
        key = _key(keys)
        rows = self._rows(since.isoformat(), until.isoformat(), key)
        names = {key.id: key.name for key in keys}
        return jsonify(render(since.isoformat(), until.isoformat(), rows, names, self._budgets(key)))

    def _rows(self, since: str, until: str, key: ApiKey | None) -> Sequence[LedgerRow]:
        sees, wanted = owner(), request.args.get("owner")
        if sees is not None and wanted not in (None, sees):
            return ()
        model = request.args.get("model")
        entry = self._system.registries.poll().find(model) if model else None
        model = entry.name if isinstance(entry, ModelSpec) else model  # an alias
        rows = self._system.ledger.rows(since, until, owner=sees or wanted, key=key.id if key else None, model=model)
        everything = key is None and wanted is None and caller().key is None
        loads = self._system.ledger.rows(since, until, owner=SERVER, model=model) if everything else ()
        return [*rows, *loads]

    def _budgets(self, wanted: ApiKey | None) -> Sequence[Mapping[str, Any]]:
        """Return the budgets of the query's key and owner, else of the caller's."""
        by, team = caller(), request.args.get("owner")
        key = wanted or (by.key if team is None else None)
        name = team or (key.owner if key else by.owner)
        if owner() not in (None, name) or (key and key.owner != name):
            return ()
        shown = key and (owner() is None or (by.key and key.id == by.key.id))  # not that of a colleague
        return budgets_of(self._system.budgets, name, key.id if key and shown else None)


def _days(today: date) -> tuple[date, date]:
    """Return the first and the last day of the report."""
    until = query.day("until", today)
    since = query.day("since", date.fromordinal(max(until.toordinal() - USUAL_DAYS + 1, 1)))
    if since > until or (until - since).days >= MOST_DAYS:
        before = f"a day up to {until}, the last one, and at most {MOST_DAYS - 1} days before it"
        raise invalid_value("since", before, since.isoformat())
    return since, until


def _key(keys: Sequence[ApiKey]) -> ApiKey | None:
    """Return the key in the query, None without one."""
    text = request.args.get("key")
    if text is None:
        return None
    found = next((key for key in keys if text in (key.name, key.id)), None)
    if found is None:
        raise invalid_value("key", "the name or id of a key whose usage this key may see", text)
    return found
