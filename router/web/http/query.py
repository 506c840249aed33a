"""Query parameters, checked like a body."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from flask import request

from router.errors import InvalidRequest, UnknownJob
from router.web.http.fields import invalid_value, shown

USUAL_LIMIT = 20
LIMIT = re.compile("0|[1-9][0-9]?|100")
NUMBER = re.compile("[0-9]{1,18}")
DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}
ORDERS = {"asc": False, "desc": True}


def limit() -> int:
    text = request.args.get("limit", str(USUAL_LIMIT))
    if not LIMIT.fullmatch(text):
        raise invalid_value("limit", "an integer from 0 to 100", text)
    return int(text)


def page(entries: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """Return a list object of up to `limit` entries; further entries set `has_more`."""
    data = entries[:limit]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": len(entries) > limit}


def page_of(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the page of a whole list that the query asks for.

    Raises `UnknownJob` when `after` is none of the entries.
    """
    entries = entries[::-1] if newest_first() else entries
    most, after, ids = limit(), request.args.get("after"), [entry["id"] for entry in entries]
    if after and after not in ids:
        raise UnknownJob(f"after must be the id of an item of the list, got {shown(after)}", param="after")
    return page(entries[ids.index(after) + 1 if after else 0 :], most)


def newest_first() -> bool:
    text = request.args.get("order", "desc")
    if text not in ORDERS:
        raise invalid_value("order", "asc or desc", text)
    return ORDERS[text]


def flag(name: str) -> bool:
    text = request.args.get(name, "")
    if text.lower() not in FLAGS:
        raise invalid_value(name, "true or false", text)
    return FLAGS[text.lower()]


def number(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not NUMBER.fullmatch(text):
        raise invalid_value(name, "an integer from 0", text)
    return int(text)


def day(name: str, default: date) -> date:
    text = request.args.get(name)
    if text is None:
        return default
    try:
        return date.fromisoformat(text if DAY.fullmatch(text) else "")
    except ValueError:
        raise invalid_value(name, "a day, such as 2026-12-01", text) from None


def require_known(*names: str) -> None:
    """Raise `InvalidRequest` for a parameter that is none of `names`."""
    # a misspelt filter would give the sums of everything
    for name in request.args:
        if name not in names:
            message = f"there is no parameter {shown(name)}; there are {', '.join(names)}"
            raise InvalidRequest(message, param=name[:64], code="unknown_parameter")


def csv_param(name: str) -> frozenset[str]:
    """Return the words of a parameter: repeated, with brackets, or with commas."""
    texts = [*request.args.getlist(name), *request.args.getlist(f"{name}[]")]
    return frozenset(word for text in texts for word in text.split(","))
