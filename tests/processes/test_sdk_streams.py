"""Streams as the `openai` package reads them, from real servers."""

from collections.abc import Callable

import openai
import pytest
from support.server import Server
from support.streams import (
    MODELS,
    sdk_of,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Pydantic serializer"),  # of the SDK, about part types that it does not know
]

Serve = Callable[..., Server]


@pytest.fixture
def sdk(shared: Server) -> openai.OpenAI:
    return sdk_of(shared)


def test_the_sdk_iterates_over_a_stream(sdk: openai.OpenAI) -> None:
    options = {"provider_options": {"video": {"steps": 10}}}
    events = list(sdk.responses.create(model="slow", input="a", stream=True, extra_body=options))

    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output[0].content[0].video_url.startswith("/v1/videos/video_")
    assert len({event.response.progress for event in events if event.type == "response.in_progress"}) >= 3


@pytest.mark.parametrize("options", [{}, {"provider_options": {"video": {}}}, {"provider_options": {"image": {}}}])
def test_the_sdks_stream_helper_gives_the_final_response(sdk: openai.OpenAI, options: dict) -> None:
    with sdk.responses.stream(model="text", input="a", extra_body=options) as streamed:
        types = [event.type for event in streamed]
        final = streamed.get_final_response()

    assert types[0] == "response.created"
    assert final.status == "completed"
    part = final.output[0].content[0]
    assert (final.output_text or getattr(part, "video_url", None) or part.image_url).startswith("/v1/")


def test_the_sdks_stream_helper_gives_a_function_call(sdk: openai.OpenAI) -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    with sdk.responses.stream(model="text", input="a", tools=[tool]) as streamed:
        final = streamed.get_final_response()

    assert (final.output[0].type, final.output[0].name, final.output[0].arguments) == ("function_call", "f", "{}")


def test_the_sdk_picks_a_stream_up_again(sdk: openai.OpenAI) -> None:
    options = {"provider_options": {"video": {"steps": 20}}}
    begun = sdk.responses.create(model="slow", input="a", stream=True, background=True, extra_body=options)
    seen = [next(begun) for _ in range(4)]
    begun.close()
    response, last = seen[0].response.id, seen[-1].sequence_number
    rest = list(sdk.responses.retrieve(response, stream=True, starting_after=last))
    with sdk.responses.stream(response_id=response, starting_after=last) as streamed:
        again = [event.sequence_number for event in streamed]
        final = streamed.get_final_response()

    assert rest[0].sequence_number > last
    assert rest[-1].type == "response.completed"
    assert final.id == response
    assert again[-5:] == [event.sequence_number for event in rest][-5:]


def test_the_sdk_sees_a_cancelled_stream_end(sdk: openai.OpenAI) -> None:
    options = {"provider_options": {"video": {"steps": 60}}}
    streamed = sdk.responses.create(model="slow", input="a", stream=True, extra_body=options)
    response = next(streamed).response.id
    sdk.responses.cancel(response)
    last = list(streamed)[-1]

    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    assert last.response.incomplete_details.reason == "cancelled"


def test_the_sdk_lists_the_input(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="text", input="a cat", background=True)
    items = list(sdk.responses.input_items.list(made.id, order="asc", include=["message.input_image.image_url"]))

    assert [item.content[0].text for item in items] == ["a cat"]


def test_a_padded_answer_is_an_answer_to_the_sdk(serve: Serve) -> None:
    server = serve(MODELS, silent_seconds=0.2, pad_seconds=0.2)
    answer = sdk_of(server, timeout=1.5).responses.create(
        model="slow", input="a", extra_body={"provider_options": {"video": {"steps": 25}}}
    )

    assert answer.status == "completed"
