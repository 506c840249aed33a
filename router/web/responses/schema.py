"""The body of `POST /v1/responses`."""

from __future__ import annotations

from marshmallow import fields

from router.intake.resolve import SEEDS
from router.web.http.fields import Integer, StrictBoolean, Text, described
from router.web.responses.echo_fields import REQUEST_FIELDS
from router.web.schemas import MODEL, SEED, Lenient, ProviderOptions


class CreateResponse(Lenient):
    """The known keys of a request; the answer's `warnings` name all others."""

    class Meta(Lenient.Meta):
        include = REQUEST_FIELDS

    model = Text(MODEL)
    input = fields.Raw(
        allow_none=True,
        metadata=described(
            "the prompt, or messages: the last one of the user is the request, system text is put in front of it",
            type=["string", "array"],
            items={"$ref": "#/components/schemas/InputItem"},
        ),
    )
    seed = Integer(0, SEEDS - 1, SEED)
    stream = StrictBoolean("`true`: answer with server-sent events")
    provider_options = fields.Nested(
        ProviderOptions,
        allow_none=True,
        metadata=described("with `video` or `image` the answer has an `output_video` or `output_image`, else text"),
    )
