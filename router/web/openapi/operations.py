"""Operations: each declares a route of the application and its entry in the API document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Blueprint, Response
from marshmallow import Schema

from router.errors import HttpError

JSON = "application/json"
Content = Schema | type[Schema] | Mapping[str, Any]  # a marshmallow schema, or a JSON Schema
View = Callable[..., Response]


@dataclass(frozen=True)
class Parameter:
    """A value in the path, the query or a header (`location`); `schema` is JSON Schema."""

    name: str
    location: str
    about: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer that is no error: its bodies by media type, its headers beside `x-request-id`."""

    about: str
    contents: Mapping[str, Content] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """An error: its class with the status, its code, its cause and its headers."""

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
    """A method of a path, answered by `view`.

    The names in the path are arguments of the view, and described in `parameters.PATH`. `links` name the operations
    that take the id of the answer; one `open` to all needs no key.
    """

    method: str
    path: str
    view: View
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

    @property
    def path_names(self) -> list[str]:
        return re.findall("{([a-z_]+)}", self.path)

    @property
    def rule(self) -> str:
        """Return the path as Flask writes it; the name of a model may have slashes."""
        return self.path.replace("{model}", "<path:model>").replace("{", "<").replace("}", ">")

    def head(self, name: str, summary: str) -> Operation:
        """Return the same without a body."""
        replies = {status: replace(reply, contents={}) for status, reply in self.replies.items()}
        return replace(self, method="HEAD", id=name, summary=summary, replies=replies, examples=())


def ok(about: str, content: Content, *headers: str) -> dict[int, Reply]:
    """Return the replies of an operation that answers 200 with JSON."""
    return {200: Reply(about, {JSON: content}, headers)}


def blueprint(name: str, views: object, operations: Iterable[Operation], **options: Any) -> Blueprint:
    """Return the routes of `operations`, answered by the methods of `views`."""
    routes = Blueprint(name, type(views).__module__, **options)
    for operation in operations:
        if operation.method != "HEAD":  # Flask answers it where there is a GET
            view = getattr(views, operation.view.__name__)
            routes.add_url_rule(operation.rule, view_func=view, methods=[operation.method])
    return routes
