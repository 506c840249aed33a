"""Operations: routes of the application and entries of the API document."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Blueprint, Flask, Response
from marshmallow import Schema
from werkzeug.routing import BaseConverter

from router.errors import HttpError

JSON = "application/json"
Content = Schema | type[Schema] | Mapping[str, Any]  # a marshmallow schema, or a JSON Schema
View = Callable[..., Response]


class JobConverter(BaseConverter):
    """The id of a job in a path, never a word of another route."""

    regex = "(?!(?:sync|generations|estimate|compact)(?:/|$))[^/]+"


@dataclass(frozen=True)
class Reply:
    """A successful answer: bodies by media type, headers beside `x-request-id`."""

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
    """A complete request; `flags` go to curl, `query` follows the path."""

    title: str
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None
    query: str = ""
    flags: str = ""


@dataclass(frozen=True)
class Operation:
    """A method of a path, answered by `view`, and described by its docstring.

    `id` is the view's name. The names in the path are arguments of the view, and described in `parameters.PATH`.
    `links` name the operations that take the id of the answer; one `open` to all needs no key.
    """

    method: str
    path: str
    view: View
    id: str
    tag: str
    replies: Mapping[int, Reply]
    parameters: tuple[Mapping[str, Any], ...] = ()  # as OpenAPI has them
    bodies: Mapping[str, Content] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    examples: tuple[Example, ...] = ()
    links: tuple[str, ...] = ()
    open: bool = False
    title: str = ""  # in place of the docstring's

    @property
    def path_names(self) -> list[str]:
        return re.findall("{([a-z_]+)}", self.path)

    @property
    def summary(self) -> str:
        return self.title or self._paragraphs[0].removesuffix(".")

    @property
    def about(self) -> str:
        return " ".join("".join(self._paragraphs[1:]).split())

    @property
    def _paragraphs(self) -> list[str]:
        return (self.view.__doc__ or "").split("\n\n")


@dataclass(frozen=True)
class Routes:
    """The operations of one tag of the document, in the order of their views."""

    tag: str
    operations: list[Operation] = field(default_factory=list)

    def add(self, route: str, replies: Mapping[int, Reply], *, head: str = "", **more: Any) -> Callable[[View], View]:
        """Declare a route, as `GET /v1/videos`; `head`: summary of its HEAD."""
        method, path = route.split()

        def declare(view: View) -> View:
            id = re.sub("_([a-z])", lambda letter: letter[1].upper(), view.__name__)
            operation = Operation(method, path, view, id, self.tag, replies, **more)
            self.operations.append(operation)
            if head:
                id = id.replace("get", "head", 1)
                bare = {status: replace(reply, contents={}) for status, reply in replies.items()}
                self.operations.append(replace(operation, method="HEAD", id=id, title=head, replies=bare, examples=()))
            return view

        return declare

    def register(self, app: Flask, views: object, **options: Any) -> None:
        """Add the routes to the methods of `views`, as a blueprint with its options."""
        routes = Blueprint(type(views).__name__.lower(), type(views).__module__, **options)
        for operation in self.operations:
            if operation.method != "HEAD":  # Flask answers it where there is a GET
                rule = re.sub("{([a-z_]+_id)}", r"<job:\1>", operation.path).replace("{model}", "<path:model>")
                rule = re.sub("{([a-z_]+)}", r"<\1>", rule)
                view = getattr(views, operation.view.__name__)
                routes.add_url_rule(rule, view_func=view, methods=[operation.method])
        app.register_blueprint(routes)


def ok(about: str, content: Content, *headers: str) -> dict[int, Reply]:
    """Return the replies of an operation that answers 200 with JSON."""
    return {200: Reply(about, {JSON: content}, headers)}
