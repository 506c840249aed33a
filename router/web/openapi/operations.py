"""What there is to say of a route: the values of which the table of routes is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema

from router.errors import HttpError

JSON = "application/json"
Content = Schema | Mapping[str, Any]  # a marshmallow schema, or a JSON Schema


@dataclass(frozen=True)
class Parameter:
    """What stands in the path, behind the `?` or in a header; `schema` is JSON Schema."""

    name: str
    place: str
    about: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer that is no error: its bodies by media type, and the headers that it has beside `x-request-id`."""

    about: str
    contents: Mapping[str, Content] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """An error: the class that has its status, its code, when it happens, and its headers."""

    kind: type[HttpError]
    code: str
    about: str
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A request that works as it stands; `flags` go to curl, `query` behind the path."""

    title: str
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None
    query: str = ""
    flags: str = ""


@dataclass(frozen=True)
class Operation:
    """A method of a path. `links` name the operations that take the id of its answer; `open` to all needs no key."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    replies: Mapping[int, Reply]
    about: str = ""
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, Content] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    examples: tuple[Example, ...] = ()
    links: tuple[str, ...] = ()
    open: bool = False
