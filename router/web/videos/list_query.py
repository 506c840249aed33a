"""The query of a list of videos: words of prompts, a model, states."""

from flask import request

from registry import Registry, Route
from router.errors import InvalidRequest
from router.jobs import JobFilter
from router.values import Status
from router.web.http import query
from router.web.http.fields import CLEAN, invalid_value, unclean
from router.web.openapi.parameters import in_query

MOST_CHARACTERS = 200
Q = in_query(
    "q",
    "words that all occur in the prompt, in upper or lower case",
    type="string",
    maxLength=MOST_CHARACTERS,
    pattern=CLEAN,
)
MODEL = in_query(
    "model",
    "a model or an alias, also of one that is not served any more, or a route: the videos of all its members",
    type="string",
    pattern=CLEAN,
)
STATUS = in_query(
    "status",
    "one or more, repeated or separated by commas; `failed` has those that were cancelled, `cancelled` only them",
    type="array",
    items={"enum": [str(status) for status in Status]},
)
PARAMETERS = (Q, MODEL, STATUS)


def read_filter(registry: Registry) -> JobFilter:
    """Return which videos the query asks for; raise `InvalidRequest` for a bad value."""
    return JobFilter(_models(registry), _statuses(), tuple(_text("q", MOST_CHARACTERS).split()))


def _models(registry: Registry) -> frozenset[str] | None:
    if not (name := _text("model")):
        return None
    entry = registry.find(name)
    if isinstance(entry, Route):
        return frozenset(member.name for member in map(registry.find, entry.members) if member)
    return frozenset({entry.name if entry else name})  # jobs outlive the entry of their model


def _statuses() -> frozenset[Status] | None:
    words = query.csv_param("status") - {""}
    if unknown := sorted(words - set(Status)):
        raise invalid_value("status", f"one or more of {', '.join(Status)}", unknown[0])
    found = frozenset(map(Status, words))
    # as in answers of this API, whose word for both is `failed`
    return (found | {Status.CANCELLED} if Status.FAILED in found else found) or None


def _text(name: str, most: int | None = None) -> str:
    """Return a parameter, '' without one; raise `InvalidRequest` unless clean and short."""
    text = request.args.get(name, "")
    if most is not None and len(text) > most:
        raise InvalidRequest(f"{name} may have {most} characters, got {len(text):,}", param=name)
    if problem := unclean(text):
        raise InvalidRequest(f"{name} must be text, got {problem}", param=name)
    return text
