"""The body of `POST /v1/responses`, and the keys repeated in its answer."""

from dataclasses import dataclass
from typing import Any

from marshmallow import fields, validate

from router.intake.resolve import SEEDS
from router.values import Job
from router.web.answer_fields import (
    Answer,
    Read,
    boolean,
    constant,
    enum,
    integer,
    mapping,
    nested,
    number,
    string,
    when,
)
from router.web.http.fields import Entries, Integer, Number, Pairs, StrictBoolean, Text, described, nullable
from router.web.responses.usage import Usage, used_alone
from router.web.schemas import MODEL, MOST, SEED, Lenient, ProviderOptions

MOST_TOOLS = 1000
FORMATS = ("text", "json_object", "json_schema")
REPEATED = "checked and repeated, without effect on a video"
AS_SENT = "as it was sent"


class FunctionTool(Lenient):
    """A tool of the caller; of types other than `function` only the type counts."""

    type = Text("`function`; tools of other types are read over")
    name = Text("the function's name", validate=validate.Length(max=128, error="must have at most {max} characters"))
    description = Text("what the function does")
    parameters = fields.Dict(**nullable("the JSON Schema of its arguments"))
    strict = StrictBoolean("whether the arguments must fit the schema")


class Tool(Answer):
    """A function that was offered, with all its keys."""

    type = constant("its kind", "function")
    name = string("the function's name")
    description = string("what it does", none=True)
    parameters = mapping("the JSON Schema of its arguments", none=True)
    strict = boolean("whether they must fit it", none=True)


class TextFormat(Lenient):
    """The format of a text; repeated in the answer, without effect on a video."""

    type = Text("the kind of format", validate=validate.OneOf(FORMATS, error="must be one of {choices}"))
    name = Text("the schema's name")
    description = Text("what the schema is for")
    schema = fields.Dict(**nullable("a JSON Schema"))
    strict = StrictBoolean("whether the text must fit the schema")


def _of_schema(key: str, default: Any = None) -> Read:
    """Return a reader of a key that only formats with a schema have."""
    return when(lambda text_format: text_format.get("type") == "json_schema", lambda sent: sent.get(key, default))


class UsedFormat(Answer):
    type = enum("the kind of format", *FORMATS, read=lambda text_format: text_format.get("type", "text"))
    name = string("the schema's name", _of_schema("name", ""), sometimes=True)
    description = string("what the schema is for", _of_schema("description"), none=True, sometimes=True)
    schema = mapping("a JSON Schema", _of_schema("schema"), none=True, sometimes=True)
    strict = boolean("whether the text must fit it", _of_schema("strict", False), sometimes=True)


class TextOptions(Lenient):
    format = fields.Nested(TextFormat, **nullable(REPEATED))
    verbosity = Text(REPEATED)


class UsedText(Answer):
    format = nested(UsedFormat, "`text`, unless another was sent", lambda text: text.get("format", {}))
    verbosity = string(AS_SENT, sometimes=True)


class Reasoning(Lenient):
    effort = Text(REPEATED)
    summary = Text(REPEATED)


class UsedReasoning(Answer):
    effort = string(AS_SENT, none=True)
    summary = string(AS_SENT, none=True)


@dataclass(frozen=True)
class Echo:
    """One key: its field in an answer, its field in a request, its default."""

    answer: fields.Field[Any]
    request: fields.Field[Any] | None = None
    default: Any = None
    read: Read | None = None  # of the job, for a key that no request has


def _text(default: Any = None) -> Echo:
    return Echo(string(AS_SENT, none=default is None), Text(REPEATED), default)


ECHOED: dict[str, Echo] = {  # in the order of the answer
    "previous_response_id": _text(),
    "instructions": Echo(string(AS_SENT, none=True), fields.Raw(**nullable("text that is put in front of the prompt"))),
    "tools": Echo(
        fields.List(fields.Nested(Tool), metadata=described("the functions that were offered")),
        Entries(
            fields.Nested(FunctionTool),
            validate=validate.Length(max=MOST_TOOLS, error="must have at most {max} entries"),
            error_messages={"invalid": "must be a list of tools"},
            **nullable("functions; one of them is called where it must be, or where no video was asked for"),
        ),
        [],
    ),
    "tool_choice": Echo(
        fields.Raw(metadata=described(AS_SENT, anyOf=[{"enum": ["none", "auto", "required"]}, {"type": "object"}])),
        fields.Raw(
            **nullable(
                "which function to call; `none` for a video",
                anyOf=[{"enum": ["none", "auto", "required", None]}, {"type": "object"}],
            )
        ),
        "auto",
    ),
    "truncation": Echo(
        enum(AS_SENT, "auto", "disabled"),
        Text(REPEATED, validate=validate.OneOf(["auto", "disabled"], error="must be auto or disabled")),
        "disabled",
    ),
    "parallel_tool_calls": Echo(boolean(AS_SENT), StrictBoolean(REPEATED), False),
    "text": Echo(
        nested(UsedText, AS_SENT), fields.Nested(TextOptions, **nullable(REPEATED)), {"format": {"type": "text"}}
    ),
    "top_p": Echo(number(AS_SENT), Number(0, 1, REPEATED), 1),
    "presence_penalty": Echo(number(AS_SENT), Number(-2, 2, REPEATED), 0),
    "frequency_penalty": Echo(number(AS_SENT), Number(-2, 2, REPEATED), 0),
    "top_logprobs": Echo(integer(AS_SENT), Integer(0, 20, REPEATED), 0),
    "temperature": Echo(number(AS_SENT), Number(0, 2, REPEATED), 1),
    "reasoning": Echo(nested(UsedReasoning, AS_SENT, none=True), fields.Nested(Reasoning, **nullable(REPEATED))),
    "usage": Echo(nested(Usage, "what a finished job took; null while that is unknown", none=True), read=used_alone),
    "max_output_tokens": Echo(integer(AS_SENT, none=True), Integer(1, MOST, REPEATED)),
    "max_tool_calls": Echo(integer(AS_SENT, none=True), Integer(1, MOST, REPEATED)),
    "store": Echo(
        boolean("as it was sent; the call of a function is kept nowhere"),
        StrictBoolean("`true`: make the video even if the caller goes away; `background` and a key say the same"),
    ),
    "background": Echo(
        boolean(AS_SENT), StrictBoolean("`true`: answer at once, with `status: queued`, and make the video meanwhile")
    ),
    "service_tier": Echo(
        string(AS_SENT),
        Text("`priority` goes before other jobs of its model, `flex` after them; all else is as they are"),
        "default",
    ),
    "metadata": Echo(
        fields.Dict(values=fields.String(), metadata=described(AS_SENT)),
        Pairs(
            keys=Text("a name", validate=validate.Length(max=64, error="must have at most {max} characters")),
            values=Text("a value", validate=validate.Length(max=512, error="must have at most {max} characters")),
            validate=validate.Length(max=16, error="must have at most {max} pairs"),
            **nullable("text of the caller's own, which the answer repeats"),
        ),
    ),
    "safety_identifier": _text(),
    "prompt_cache_key": _text(),
}
OF_PRESENTATION = ("instructions", "store", "background", "metadata")  # those that mean something here, too
COMPLETED = {"text": UsedText(), "reasoning": UsedReasoning()}  # echoed with all their keys
REQUEST_FIELDS = {name: echo.request for name, echo in ECHOED.items() if echo.request}
AS_IS = [name for name in REQUEST_FIELDS if name not in (*OF_PRESENTATION, *COMPLETED, "tools", "tool_choice")]


def _answered(name: str, echo: Echo) -> fields.Field[Any]:
    def read(job: Job) -> Any:
        if name in OF_PRESENTATION:
            return getattr(job.presentation, name)
        return job.presentation.echoed.get(name, echo.default)

    echo.answer.metadata = {**echo.answer.metadata, "read": echo.read or read}
    return echo.answer


ANSWER_FIELDS = {name: _answered(name, echo) for name, echo in ECHOED.items()}


class CreateResponse(Lenient):
    """The known keys of a request; the answer's `warnings` name all others."""

    class Meta(Lenient.Meta):
        include = REQUEST_FIELDS

    model = Text(MODEL)
    input = fields.Raw(
        **nullable(
            "the prompt, or messages: the last one of the user is the request, system text is put in front of it",
            type=["string", "array"],
            items={"$ref": "#/components/schemas/InputItem"},
        )
    )
    seed = Integer(0, SEEDS - 1, SEED)
    stream = StrictBoolean("`true`: answer with server-sent events")
    text_output = StrictBoolean("`true`: add an `output_text` with the link, for frameworks that read text only")
    provider_options = fields.Nested(
        ProviderOptions,
        **nullable("with `video` or `image` the answer has an `output_video` or `output_image`, else text"),
    )
