"""Bracketed names of a form's fields, and the object that they make."""

import re
from itertools import pairwise
from typing import Any

from router.errors import InvalidRequest
from router.web.http.fields import shown

MOST_DEPTH = 8  # brackets in a name
NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def invalid_form(reason: str, param: str = "") -> InvalidRequest:
    return InvalidRequest(f"the body must be a form: {reason}", param=param, code="invalid_form")


def path_of(name: str) -> list[str]:
    """Return the keys of `a[b][]`: `a`, `b` and '', an entry of a list."""
    match = NAME.fullmatch(name)
    if match is None:
        raise invalid_form(
            f"a part's name must be like prompt or provider_options[video][seed], got {shown(name)}", name
        )
    path = [match[1], *(key[:-1] for key in match[2].split("[")[1:])]
    if len(path) > MOST_DEPTH:
        raise invalid_form(f"a part's name may have {MOST_DEPTH - 1} pairs of brackets, got {len(path) - 1}", name)
    if ("", "") in pairwise(path):
        raise invalid_form(f"[] must stand behind a name, got {shown(name)}: a list holds values or objects", name)
    return path


def put(found: dict[str, Any], path: list[str], name: str, value: Any) -> None:
    """Set the value of the part `name` at its path; refuse a second one.

    A list's next object begins with a key that the last one has.
    """
    target: Any = found
    for depth, (key, below) in enumerate(pairwise(path), 1):
        kind: type = dict if below else list
        if isinstance(target, list):
            if not target or not isinstance(target[-1], dict) or _has(target[-1], path[depth:]):
                target.append({})
            target = target[-1]
        else:
            target = target.setdefault(key, kind())
        if type(target) is not kind:
            raise invalid_form(f"{shown(name)} is something else, too", name)
    if isinstance(target, list):
        target.append(value)
    elif path[-1] in target:
        raise invalid_form(f"{shown(name)} appears twice", name)
    else:
        target[path[-1]] = value


def _has(value: Any, path: list[str]) -> bool:
    """Say whether an object has something at the end of a path."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
