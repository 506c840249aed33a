"""`GET /v1/videos` with words, a model and states, and pages of what they leave."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import MODELS, data_url, png
from flask.testing import FlaskClient
from support.callers import client_of, make_key

from router.auth.keys import Scope
from router.jobs import ClaimRequest
from router.settings import Settings
from router.system import System, assemble
from router.values import Artifact, Failure
from router.web import create_app


def make(client: FlaskClient, prompt: str = "a", **body: Any) -> str:
    answer = client.post("/v1/videos", json={"prompt": prompt, "model": "text", **body})
    assert answer.status_code == 200, answer.get_json()
    return str(answer.get_json()["id"])


def listed(client: FlaskClient, **query: Any) -> list[str]:
    answer = client.get("/v1/videos", query_string={"limit": 100, "order": "asc", **query})
    assert answer.status_code == 200, answer.get_json()
    return [video["id"] for video in answer.get_json()["data"]]


def pages(client: FlaskClient, **query: Any) -> list[str]:
    """Return the ids of all pages of two; only the last may be shorter."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("/v1/videos", query_string={"limit": 2, **query, **after}).get_json()
        found += [video["id"] for video in page["data"]]
        if not page["has_more"]:
            return found
        assert len(page["data"]) == 2
        after = {"after": page["last_id"]}


@pytest.fixture
def states(client: FlaskClient, system: System) -> dict[str, str]:
    """Return a video in each state, by its state."""
    made = {state: make(client, state) for state in ("completed", "failed", "in_progress", "cancelled", "queued")}
    file = Artifact("1.mp4", "video/mp4", "0" * 64, 1, 64, 64, 5, 8)
    ends: dict[str, Callable[[Any], object]] = {
        "completed": lambda lease: system.jobs.finish(lease, file),
        "failed": lambda lease: system.jobs.fail(lease, Failure("out_of_memory", "too large")),
        "in_progress": lambda lease: None,
    }
    for state, end in ends.items():
        claimed = system.jobs.claim("e", ClaimRequest(["text"]), made[state].removeprefix("video_"))
        assert claimed is not None
        end(claimed[0])
    system.jobs.cancel(made["cancelled"].removeprefix("video_"), "local")
    return made


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("completed", ["completed"]),
        ("failed", ["failed", "cancelled"]),  # as their answers say
        ("cancelled", ["cancelled"]),
        ("queued", ["queued"]),
        ("queued,in_progress", ["in_progress", "queued"]),
        (["queued", "in_progress,completed"], ["completed", "in_progress", "queued"]),
        ("cancelled,failed", ["failed", "cancelled"]),
        ("", ["completed", "failed", "in_progress", "cancelled", "queued"]),
    ],
)
def test_videos_are_listed_by_state(
    client: FlaskClient, states: dict[str, str], status: Any, wanted: list[str]
) -> None:
    assert listed(client, status=status) == [states[state] for state in wanted]


PROMPTS = [
    "A red circle",
    "a Blue circle\nmoves right",
    "STRASSE in Köln",
    "100% sure",
    "snake_case",
    "back\\slash",
    "a/b",
]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("circle", [0, 1]),
        ("CIRCLE red", [0]),
        ("red blue", []),
        ("  blue \t circle ", [1]),
        ("moves right", [1]),
        ("ircl", [0, 1]),  # also within a word
        ("straße", [2]),  # casefold
        ("KÖLN", [2]),
        ("%", [3]),
        ("0%", [3]),
        ("1%e", []),
        ("_", [4]),
        ("snake?case", []),
        ("s_a", []),
        ("\\", [5]),
        ("/", [6]),
        ("'; drop table jobs; --", []),
        ("*", []),
        ("", [0, 1, 2, 3, 4, 5, 6]),
        (" ", [0, 1, 2, 3, 4, 5, 6]),
        ("a " * 100, [0, 1, 2, 4, 5, 6]),
    ],
)
def test_videos_are_found_by_the_words_of_their_prompts(client: FlaskClient, q: str, found: list[int]) -> None:
    made = [make(client, prompt) for prompt in PROMPTS]

    assert listed(client, q=q) == [made[n] for n in found]


def test_a_video_is_found_by_its_own_prompt_whatever_it_is(client: FlaskClient) -> None:
    prompts = ["İstanbul", "ﬁne", "ΣΊΣΥΦΟΣ", "e\u0301", "🎈", "x" * 190]
    made = [make(client, prompt) for prompt in prompts]

    for video, prompt in zip(made, prompts, strict=True):
        assert listed(client, q=prompt) == listed(client, q=prompt.casefold()) == [video]
    assert listed(client, q="σίσυφος") == [made[2]]


def test_a_negative_prompt_is_not_searched(client: FlaskClient) -> None:
    make(client, "a", negative_prompt="blurry")

    assert listed(client, q="blurry") == []


def test_a_remix_and_a_response_are_found_by_their_prompts(client: FlaskClient) -> None:
    first = make(client, "a red ball")
    remix = client.post(f"/v1/videos/{first}/remix", json={"prompt": "a blue ball"}).get_json()["id"]
    body = {"model": "text", "input": "a green ball", "background": True}
    response = client.post("/v1/responses", json=body).get_json()["id"]

    assert listed(client, q="ball") == [first, remix, response.replace("resp", "video")]
    assert listed(client, q="blue") == [remix]


def test_videos_are_listed_by_model_alias_and_route(client: FlaskClient) -> None:
    text, slow = make(client), make(client, model="slow")
    image = make(client, model="any", input_reference={"image_url": data_url(png())})

    assert listed(client, model="text") == listed(client, model="org/text") == [text]
    assert listed(client, model="slow") == [slow]
    assert listed(client, model="any") == [text, image]
    assert listed(client, model="") == [text, slow, image]
    for unknown in ("none", "%", "TEXT", "x" * 5000):
        assert listed(client, model=unknown) == []


def test_the_videos_of_a_model_that_is_not_served_any_more_are_found(settings: Settings) -> None:
    video = make(create_app(assemble(settings)).test_client(), model="slow")
    settings.models.write_text("\n".join(line for line in MODELS.splitlines() if "slow" not in line))
    client = create_app(assemble(settings)).test_client()

    assert client.get("/v1/models/slow").status_code == 404
    assert listed(client, model="slow") == [video]


def test_filters_add_up_and_their_pages_are_full(client: FlaskClient, system: System) -> None:
    wanted = []
    for n in range(21):
        video = make(client, f"ball {n}" if n % 2 else f"cube {n}", model="slow" if n % 3 else "text")
        if n % 7 == 0:
            system.jobs.cancel(video.removeprefix("video_"), "local")
        if n % 2 and n % 3 and n % 7:
            wanted.append(video)
    query = {"q": "ball", "model": "slow", "status": "queued"}

    assert pages(client, **query) == wanted[::-1]
    assert pages(client, **query, order="asc") == listed(client, **query) == wanted
    assert [video["queue_position"] for video in client.get("/v1/videos", query_string=query).get_json()["data"]] != []


def test_a_page_goes_on_behind_a_video_that_the_filter_leaves_out_or_that_is_deleted(client: FlaskClient) -> None:
    ball, cube, last = make(client, "ball"), make(client, "cube"), make(client, "ball")

    assert listed(client, q="ball", after=cube) == [last]
    client.delete(f"/v1/videos/{cube}")
    assert listed(client, q="ball", after=cube, order="desc") == [ball]


def test_others_videos_are_not_found_and_are_no_beginning_of_a_page(system: System) -> None:
    red_key, blue_key = make_key(system, "red"), make_key(system, "blue")
    ops_key = make_key(system, "ops", scopes=(Scope.ADMIN,))
    app = create_app(system)
    red, blue, ops = (client_of(app, text) for text in (red_key, blue_key, ops_key))
    mine, theirs = make(red, "a ball"), make(blue, "a ball")

    for query in ({"q": "ball"}, {"model": "text"}, {"status": "queued"}):
        assert listed(red, **query) == [mine]
        assert listed(ops, **query) == [mine, theirs]
        answer = red.get("/v1/videos", query_string={**query, "after": theirs})
        assert (answer.status_code, answer.get_json()["error"]["param"]) == (404, "after")


@pytest.mark.parametrize(
    ("query", "param", "words"),
    [
        ({"q": "x" * 201}, "q", "q may have 200 characters, got 201"),
        ({"q": "a\0"}, "q", "q must be text, got the control character U+0000 at position 1"),
        ({"q": "\x1b[2J"}, "q", "q must be text"),
        ({"model": "a\0"}, "model", "model must be text"),
        ({"status": "done"}, "status", "status must be one or more of queued, in_progress, completed, failed, cancelled, got 'done'"),
        ({"status": "queued,Failed"}, "status", "got 'Failed'"),
        ({"status": "queued;failed"}, "status", "got 'queued;failed'"),
        ({"status": "\0"}, "status", "status must be one or more of"),
        ({"q": "a", "limit": "x"}, "limit", "limit must be"),
    ],
)  # fmt: skip
def test_a_bad_filter_is_refused_by_name(client: FlaskClient, query: dict[str, str], param: str, words: str) -> None:
    answer = client.get("/v1/videos", query_string=query)
    error = answer.get_json()["error"]

    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", param)
    assert words in error["message"]
