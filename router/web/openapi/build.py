"""Make the API's document, OpenAPI 3.1, from the operations and their schemas."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from router.runtime.release import installed_version
from router.web.adapters import Adapters
from router.web.answer_fields import Either
from router.web.answers import ErrorAnswer
from router.web.http.fields import Frame, Only, without_null
from router.web.images.schema import CreateImage
from router.web.openapi import request_components
from router.web.openapi.examples import LOCAL, curl
from router.web.openapi.operations import JSON, Content, Operation, Problem, Reply
from router.web.openapi.parameters import HEADERS, PATH
from router.web.openapi.problems import CALLING, EVERYWHERE
from router.web.responses.stream import Event
from router.web.videos.form import FORMS, MULTIPART
from router.web.videos.views import REMIX

ABOUT = (
    "Framegate makes video from text and images. One server, one URL, many models; the API is the one that MAX, "
    "Open Responses and OpenAI's Responses and Videos speak. Every answer has an `x-request-id`, every error the "
    "same body. Keys that a request has and this document does not name are listed in the answer's `warnings`, or, in "
    "`provider_options.video` and `.image`, refused; an image under a name that is not read is refused anywhere."
)
KEYS = (
    "On a server that has keys every request needs one, as `Authorization: Bearer fg-...`: of scope `read` to look, "
    "`generate` to make, cancel and delete, `admin` for all that and for the server itself. "
    "The links to files in answers carry a signature instead."
)
TAGS = {
    "Responses": "Make a video or an image in one call, wait for it, watch it being made, or come back for it.",
    "Videos": (
        "OpenAI's Videos API over the same jobs: `resp_X` and `video_X` are two views of one. "
        "Its `edits`, `extensions` and `characters` are not offered."
    ),
    "Images": "OpenAI's Images API over jobs of one frame.",
    "Files": "What was made, and small pictures of it.",
    "Models": "What is served.",
    "Usage": "What jobs took of the devices, and what that costs.",
    "Admin": "Run the server, with a key of scope `admin`; without keys, from this machine.",
    "Server": "How the server is, and this document.",
}
BINARY = {"format": "binary"}
NEEDED = {
    "CreateResponse": "input",
    "CreateVideo": "prompt",
    "RemixVideo": "prompt",
    "GenerateVideo": "prompt",
    "EstimateVideo": "prompt",
    "CreateImage": "prompt",
}


class Converter(OpenAPIConverter):
    """From marshmallow to JSON Schema: what apispec cannot know of our schemas and fields."""

    def ref(self, schema: Schema | type[Schema]) -> dict[str, Any]:
        """Return a reference to the component of `schema`, made now if missing."""
        found: dict[str, Any] = self.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]
        return found

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        about = type(schema).__doc__
        return {"description": inspect.cleandoc(about), **described} if about else described

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().field2property(field)
        if isinstance(field, Either):
            refs = [self.ref(schema) for schema in field.schemas]
            return {**described, **(refs[0] if len(refs) == 1 else {"anyOf": refs})}
        return self._pairs(field, described) if isinstance(field, fields.Dict) else described

    def _pairs(self, field: fields.Dict, described: dict[str, Any]) -> dict[str, Any]:
        """Describe the number of pairs and the keys; apispec describes text."""
        if "maxLength" in described:
            described["maxProperties"] = described.pop("maxLength")
        if field.key_field:
            described["propertyNames"] = self.field2property(field.key_field)
        return described


class Plugin(MarshmallowPlugin):
    Converter = Converter


def build(operations: Iterable[Operation], public_url: str) -> dict[str, Any]:
    """Return the document of a server at `public_url`; '' is an unknown URL."""
    known = {operation.id: operation for operation in operations}
    plugin = Plugin()
    spec = APISpec(
        "Framegate",
        installed_version(),
        "3.1.0",
        plugins=[plugin],
        info={"description": ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        servers=[{"url": public_url.rstrip("/") or "/"}],
        tags=[{"name": name, "description": about} for name, about in TAGS.items()],
        security=[{"key": []}, {}],
    )
    converter = plugin.converter
    assert isinstance(converter, Converter)  # apispec makes it with the document
    _add_components(spec, converter)
    for operation in known.values():
        entry = _operation(operation, known, converter, public_url.rstrip("/") or LOCAL)
        spec.path(operation.path, operations={operation.method.lower(): entry})
    document: dict[str, Any] = spec.to_dict()
    for name, key in NEEDED.items():
        _require(document["components"]["schemas"][name], key)
    return document


def _add_components(spec: APISpec, converter: Converter) -> None:
    """Add the components that no operation adds by referring to them."""
    spec.components.security_scheme("key", {"type": "http", "scheme": "bearer", "description": KEYS})
    for name, component in request_components.COMPONENTS.items():
        spec.components.schema(name, component)
    spec.components.schema("RemixVideo", schema=REMIX)
    for schema in (ErrorAnswer, Event):
        converter.ref(schema)
    for name, header in HEADERS.items():
        spec.components.header(name, header)


def _operation(operation: Operation, known: Mapping[str, Operation], converter: Converter, url: str) -> dict[str, Any]:
    problems = (*operation.problems, *(() if operation.open else CALLING), *EVERYWHERE)
    links = [known[name] for name in operation.links]
    replies = {str(status): _reply(reply, links) for status, reply in operation.replies.items()}
    for status in sorted({problem.kind.status for problem in problems}):
        alike = [problem for problem in problems if problem.kind.status == status]
        replies.setdefault(str(status), _refusal(alike, has_body=operation.method != "HEAD"))
    entry: dict[str, Any] = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.about:
        entry["description"] = operation.about
    if operation.open:
        entry["security"] = []
    if parameters := (*(PATH[name] for name in operation.path_names), *operation.parameters):
        entry["parameters"] = list(parameters)
    if operation.bodies:
        contents = {kind: _body(kind, content, operation, converter) for kind, content in operation.bodies.items()}
        entry["requestBody"] = {"required": True, "content": contents}
    entry["responses"] = replies
    entry["x-codeSamples"] = [
        {"lang": "Shell", "label": example.title, "source": curl(operation, example, url)}
        for example in operation.examples
    ]
    return entry


def _reply(reply: Reply, links: list[Operation]) -> dict[str, Any]:
    entry: dict[str, Any] = {"description": reply.about, "headers": _headers(*reply.headers)}
    if reply.contents:
        entry["content"] = {kind: {"schema": content} for kind, content in reply.contents.items()}
    if links:
        entry["links"] = {
            link.id: {"operationId": link.id, "parameters": dict.fromkeys(link.path_names, "$response.body#/id")}
            for link in links
        }
    return entry


def _refusal(problems: list[Problem], *, has_body: bool) -> dict[str, Any]:
    """Return the response of one error status; `x-codes` lists its codes."""
    headers = {name for problem in problems for name in problem.headers}
    entry = {
        "description": "; ".join(f"`{problem.code}`: {problem.about}" for problem in problems),
        "headers": _headers(*sorted(headers)),
        "x-codes": {problem.code: problem.about for problem in problems},
    }
    body = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}}
    return entry | body if has_body else entry


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *names)}


def _body(kind: str, content: Content, operation: Operation, converter: Converter) -> dict[str, Any]:
    if kind in FORMS and isinstance(content, Schema):
        other_block = f"provider_options[{'video' if isinstance(content, CreateImage) else 'image'}]"
        described = _flat(content, converter, files=kind == MULTIPART)
        parts = {name: part for name, part in described if not name.startswith(other_block)}
        form = {"type": "object", "properties": parts, "required": ["prompt"]}
        return {"schema": form}
    entry: dict[str, Any] = {"schema": content}
    if examples := {example.title: {"value": example.body} for example in operation.examples if example.body}:
        entry["examples"] = examples
    return entry


def _flat(schema: Schema, converter: Converter, above: str = "", *, files: bool) -> Any:
    """Yield the parts of a form: brackets nest, images are files or text."""
    for key, entry in schema.fields.items():
        name = f"{above}[{key}]" if above else key
        if isinstance(entry, Only) and entry.value is None:
            continue
        if isinstance(entry, fields.Nested):
            yield from _flat(entry.schema, converter, name, files=files)
        else:
            described = converter.field2property(entry)
            if isinstance(entry, Adapters):
                described = {"description": described["description"] + "; as JSON text, or one name", "type": "string"}
            if isinstance(entry, Frame):
                described = {"description": described["description"], "type": "string"} | (BINARY if files else {})
            yield name, without_null(described)


def _require(schema: dict[str, Any], key: str) -> None:
    schema["required"] = [key]
    schema["properties"][key] = without_null(schema["properties"][key])
