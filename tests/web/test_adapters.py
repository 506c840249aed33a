"""Adapters and numerics in requests and answers, in every dialect."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import data_url, png, refused, stored, with_image
from flask.testing import FlaskClient
from sqlalchemy import update
from support.adapters import with_adapters
from support.contract import Contract, closed
from werkzeug.test import TestResponse

from router import Numerics
from router.engine.worker import Worker
from router.jobs.database import open_database
from router.jobs.tables import jobs
from router.settings import Settings
from router.system import System
from router.values import UsedAdapter

VIDEO = "provider_options.video"
FAST4 = UsedAdapter("fast4")
KNOWN = "it has fast4, noir, slow, style"


@pytest.fixture
def system(system: System, tmp_path: Path) -> System:
    return with_adapters(system, tmp_path)


def flat(client: FlaskClient, model: str = "text", **body: Any) -> TestResponse:
    return client.post("/v1/videos", json={"model": model, "prompt": "a", **body})


def respond(client: FlaskClient, adapters: Any = None, model: str = "text", **options: Any) -> TestResponse:
    block = {"video": {"adapters": adapters, **options}}
    return client.post(
        "/v1/responses", json={"model": model, "input": "a", "background": True, "provider_options": block}
    )


def form(client: FlaskClient, fields: dict[str, Any], kind: str = "multipart/form-data") -> TestResponse:
    return client.post("/v1/videos", data={"model": "text", "prompt": "a", **fields}, content_type=kind)


def echoed(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["provider_options"]["video"]["adapters"]


CHOICES: dict[str, tuple[Any, tuple[UsedAdapter, ...], Any]] = {  # what is sent, used and echoed
    "none": ([], (), []),
    "a name": (["fast4"], (FAST4,), [{"name": "fast4", "strength": 1.0}]),
    "its own strength": (["noir"], (UsedAdapter("noir", 0.8, 0.8),), [{"name": "noir", "strength": 0.8}]),
    "two": (
        ["style", {"name": "fast4", "strength": 0.5}],
        (UsedAdapter("style", 3.0, 1.5), UsedAdapter("fast4", 0.5, 0.5)),
        [{"name": "style", "strength": {"high": 3.0, "low": 1.5}}, {"name": "fast4", "strength": 0.5}],
    ),
    "null for its own": ([{"name": "fast4", "strength": None}], (FAST4,), [{"name": "fast4", "strength": 1.0}]),
    "one for each expert": (
        [{"name": "noir", "strength": {"high": 2, "low": -1}}],
        (UsedAdapter("noir", 2.0, -1.0),),
        [{"name": "noir", "strength": {"high": 2.0, "low": -1.0}}],
    ),
    "no strength": ([{"name": "fast4", "strength": 0}, "noir"], (UsedAdapter("noir", 0.8, 0.8),), [{"name": "noir", "strength": 0.8}]),
    "at the bounds": (
        [{"name": "fast4", "strength": -10}, {"name": "noir", "strength": 10}],
        (UsedAdapter("fast4", -10.0, -10.0), UsedAdapter("noir", 10.0, 10.0)),
        [{"name": "fast4", "strength": -10.0}, {"name": "noir", "strength": 10.0}],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "used", "shown"), CHOICES.values(), ids=CHOICES.keys())
def test_each_dialect_chooses_adapters_and_shows_them(
    client: FlaskClient, system: System, sent: Any, used: tuple[UsedAdapter, ...], shown: Any
) -> None:
    answers = [
        respond(client, sent),
        flat(client, adapters=sent),
        flat(client, provider_options={"video": {"adapters": sent}}),
        flat(client, extra_body={"adapters": sent}),
        form(client, {"adapters": json.dumps(sent)}),
        form(client, {f"{VIDEO.replace('.', '[')}][adapters]": json.dumps(sent)}),
        form(client, {"extra_body": json.dumps({"adapters": sent})}, "application/x-www-form-urlencoded"),
    ]

    assert [stored(system, answer).task.adapters for answer in answers] == [used] * 7
    assert [echoed(answer) for answer in answers] == [shown] * 7
    assert {tuple(answer.get_json()["warnings"]) for answer in answers} == {()}


FORMS: dict[str, tuple[dict[str, Any], tuple[UsedAdapter, ...]]] = {
    "one name": ({"adapters": "fast4"}, (FAST4,)),
    "a list": ({"adapters[]": ["fast4", "noir"]}, (FAST4, UsedAdapter("noir", 0.8, 0.8))),
    "objects by their keys": (
        {"adapters[][name]": ["noir", "fast4"], "adapters[][strength]": ["2"]},
        (UsedAdapter("noir", 0.8, 0.8), UsedAdapter("fast4", 2.0, 2.0)),
    ),
    "objects in a list": ({"adapters[]": ['{"name": "noir", "strength": 2}']}, (UsedAdapter("noir", 2.0, 2.0),)),
    "one object": ({"adapters": '{"name": "noir", "strength": 2}'}, (UsedAdapter("noir", 2.0, 2.0),)),
    "a block": ({"provider_options[video][adapters][]": ["fast4"]}, (FAST4,)),
    "vLLM-Omni's name": ({"lora": "fast4"}, (FAST4,)),
    "vLLM-Omni's object": ({"lora": '{"name": "noir", "scale": 2.0, "int_id": 7}'}, (UsedAdapter("noir", 2.0, 2.0),)),
    "its object in brackets": ({"lora[name]": "noir", "lora[scale]": "2"}, (UsedAdapter("noir", 2.0, 2.0),)),
    "no adapters": ({"adapters": "[]"}, ()),
}


@pytest.mark.parametrize(("fields", "used"), FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("kind", ["multipart/form-data", "application/x-www-form-urlencoded"])
def test_a_form_names_adapters_as_text(
    client: FlaskClient, system: System, fields: dict[str, Any], used: tuple[UsedAdapter, ...], kind: str
) -> None:
    assert stored(system, form(client, fields, kind)).task.adapters == used


LORAS: dict[str, tuple[dict[str, Any], tuple[UsedAdapter, ...]]] = {
    "an object": ({"lora": {"name": "noir", "scale": 1.0}}, (UsedAdapter("noir"),)),
    "a name": ({"lora": "fast4"}, (FAST4,)),
    "other names": ({"lora": {"lora_name": "noir", "lora_scale": 2, "lora_int_id": 3}}, (UsedAdapter("noir", 2.0, 2.0),)),
    "an empty path": ({"lora": {"name": "fast4", "local_path": None}}, (FAST4,)),
    "several": ({"loras": ["fast4", {"name": "noir", "scale": 2}]}, (FAST4, UsedAdapter("noir", 2.0, 2.0))),
    "none": ({"loras": []}, ()),
    "null": ({"lora": None}, ()),
    "beside the same adapters": ({"lora": {"name": "fast4"}, "adapters": ["fast4"]}, (FAST4,)),
}  # fmt: skip


@pytest.mark.parametrize(("body", "used"), LORAS.values(), ids=LORAS.keys())
def test_the_lora_of_other_servers_is_an_adapter(
    client: FlaskClient, system: System, body: dict[str, Any], used: tuple[UsedAdapter, ...]
) -> None:
    answer = flat(client, **body)

    assert stored(system, answer).task.adapters == used
    assert answer.get_json()["warnings"] == []


PATH = "must be left out: adapters are those of the model's entry, by their names"
WRONG: dict[str, tuple[Any, str, str]] = {  # adapters, the field below them, the message
    "text": ("fast4", "", "must be a list of names, or of objects with name and strength, got 'fast4'"),
    "an object": ({"name": "fast4"}, "", "must be a list"),
    "true": (True, "", "must be a list"),
    "an unknown name": (["x"], "", f"text has no adapter 'x': {KNOWN}"),
    "another case": (["Fast4"], "", "text has no adapter 'Fast4'"),
    "a path": (["./fast4.safetensors"], "", "text has no adapter './fast4.safetensors'"),
    "an absolute path": (["/etc/passwd"], "", "text has no adapter '/etc/passwd'"),
    "a path upwards": (["../../secret"], "", "text has no adapter '../../secret'"),
    "a hub id": (["lightx2v/Wan2.2-Lightning"], "", "text has no adapter"),
    "a URL": (["https://example.org/a.safetensors"], "", "text has no adapter"),
    "an embedded one": (["embedded:wan-nano-t2v/fast4"], "", "text has no adapter"),
    "letters of another script": (["夜"], "", "text has no adapter '夜'"),
    "an empty name": ([""], "[0]", "must be a name of 1 to 64 characters, got 0 characters"),
    "10 kB": (["a" * 10_000], "[0]", "must be a name of 1 to 64 characters, got 10,000 characters"),
    "half a surrogate pair": (["\ud800"], "[0]", "must be a name, got half a surrogate pair U+D800 at position 0"),
    "a control character": (["a\0"], "[0]", "must be a name, got the control character U+0000 at position 1"),
    "a number": ([1], "[0]", "must be a name, or an object with name and strength, got 1"),
    "a null": (["fast4", None], "[1]", "must be a name, or an object with name and strength, got null"),
    "a list": ([["fast4"]], "[0]", "must be a name, or an object with name and strength, got ['fast4']"),
    "no name": ([{"strength": 1}], "[0]", "must have a name, got null"),
    "a name that is none": ([{"name": 7}], "[0]", "must have a name, got 7"),
    "an unknown field": ([{"name": "fast4", "weight": 1}], "[0]", "has no field 'weight'; it has name, strength"),
    "scale": ([{"name": "fast4", "scale": 1}], "[0]", "has no field 'scale'; it has name, strength"),
    "the path of one": ([{"name": "fast4", "path": "/tmp/a"}], "[0].path", PATH),
    "a true strength": ([{"name": "fast4", "strength": True}], "[0].strength", 'must be a number from -10 to 10, or {"high": NUMBER, "low": NUMBER}, got true'),
    "text as strength": ([{"name": "fast4", "strength": "1"}], "[0].strength", "must be a number from -10 to 10"),
    "too strong": ([{"name": "fast4", "strength": 1e9}], "[0].strength", "got 1000000000.0"),
    "too strong for one expert": ([{"name": "fast4", "strength": {"high": 1, "low": 11}}], "[0].strength", "must be a number"),
    "half a strength": ([{"name": "fast4", "strength": {"high": 1}}], "[0].strength", "or {\"high\": NUMBER, \"low\": NUMBER}, got"),
    "three strengths": ([{"name": "fast4", "strength": {"high": 1, "low": 1, "mid": 1}}], "[0].strength", "or {\"high\": NUMBER, \"low\": NUMBER}, got"),
    "twice": (["fast4", {"name": "fast4", "strength": 2}], "", "each adapter may be named once, got 'fast4' twice"),
    "17": ([f"a{n}" for n in range(17)], "", "may have 16 adapters, got 17"),
    "1,000": (["fast4"] * 1000, "", "may have 16 adapters, got 1,000"),
    "defaults that disagree": (["fast4", "slow"], "", "fast4 and slow bring different defaults for steps"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "below", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_adapter_of_the_model_is_refused(
    client: FlaskClient, system: System, sent: Any, below: str, message: str
) -> None:
    for answer, above in (
        (respond(client, sent), f"{VIDEO}.adapters"),
        (flat(client, adapters=sent), "adapters"),
        (flat(client, extra_body={"adapters": sent}), "extra_body.adapters"),
    ):
        error = refused(answer, system)
        assert (error["param"], error["code"]) == (above + below, "invalid_value")
        assert message in error["message"]


def test_nan_is_no_strength(client: FlaskClient, system: System) -> None:
    for word in ("NaN", "Infinity", "-Infinity", "1e999"):
        text = '{"prompt": "a", "adapters": [{"name": "fast4", "strength": %s}]}' % word  # noqa: UP031
        refused(client.post("/v1/videos", data=text, content_type="application/json"), system)
        refused(form(client, {"adapters": f'[{{"name": "fast4", "strength": {word}}}]'}), system)


WRONG_LORAS: dict[str, tuple[dict[str, Any], str, str]] = {
    **{
        f"a {key}": ({"lora": {"name": "fast4", key: "/lora/fast4"}}, f"lora.{key}", PATH)
        for key in ("path", "local_path", "lora_path", "lora_local_path")
    },
    "an unknown name": ({"lora": {"name": "lightning", "scale": 1.0}}, "lora", f"text has no adapter 'lightning': {KNOWN}"),
    "no name": ({"lora": {"scale": 1.0}}, "lora", "must have a name"),
    "an empty object": ({"lora": {}}, "lora", "must have a name"),
    "a number": ({"lora": 3}, "lora", "must be a name"),
    "false": ({"lora": False}, "lora", "must be a name"),
    "two names": ({"lora": {"name": "fast4", "lora_name": "noir"}}, "lora.lora_name", "give one of them"),
    "a scale as text": ({"lora": {"name": "fast4", "scale": "1"}}, "lora.scale", "must be a number"),
    "an unknown field": ({"lora": {"name": "fast4", "rank": 8}}, "lora", "has no field 'rank'"),
    "a path among several": ({"loras": [{"name": "a", "path": "b"}]}, "loras[0].path", PATH),
    "other adapters": ({"adapters": ["fast4"], "lora": {"name": "noir"}}, "lora", "adapters is fast4, but lora is noir: give one of them"),
    "none and one": ({"adapters": [], "loras": ["noir"]}, "loras", "adapters is none, but loras is noir: give one of them"),
    "another strength in the block": (
        {"adapters": ["fast4"], "provider_options": {"video": {"adapters": [{"name": "fast4", "strength": 2}]}}},
        f"{VIDEO}.adapters", "is fast4 at 2: give one of them",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "param", "message"), WRONG_LORAS.values(), ids=WRONG_LORAS.keys())
def test_a_wrong_lora_is_refused(
    client: FlaskClient, system: System, body: dict[str, Any], param: str, message: str
) -> None:
    error = refused(flat(client, **body), system)

    assert error["param"] == param
    assert message in error["message"]


@pytest.mark.parametrize("fields", [{"adapters": ""}, {"adapters": "["}, {"adapters[]": [""]}, {"adapters[name]": "fast4"}, {"lora": ""}, {"lora": "{"}], ids=str)  # fmt: skip
def test_a_form_of_no_adapter_is_refused(client: FlaskClient, system: System, fields: dict[str, Any]) -> None:
    error = refused(form(client, fields), system)

    assert error["param"].startswith(next(iter(fields)).partition("[")[0])


def test_a_file_is_no_adapter(client: FlaskClient, system: System) -> None:
    import io

    refused(form(client, {"adapters": (io.BytesIO(b"weights"), "a.safetensors")}), system)
    refused(form(client, {"lora": (io.BytesIO(b"weights"), "a.safetensors")}), system)


def test_a_model_without_adapters_says_so(client: FlaskClient, system: System) -> None:
    body = {"model": "image", "input": with_image("a", data_url(png())), "background": True}
    block = {"provider_options": {"video": {"adapters": ["fast4"]}}}
    error = refused(client.post("/v1/responses", json=body | block), system)

    assert error["message"] == "image has no adapter 'fast4': it has none"


def test_a_route_names_the_member_without_the_adapter(client: FlaskClient, system: System) -> None:
    assert stored(system, respond(client, ["fast4"], model="some")).model == "text"
    body = {"model": "some", "input": with_image("a", data_url(png())), "background": True}
    answer = client.post("/v1/responses", json=body | {"provider_options": {"video": {"adapters": ["fast4"]}}})

    assert answer.get_json()["error"]["message"] == "image has no adapter 'fast4': it has none"


def test_a_near_name_of_the_field_is_advised(client: FlaskClient, system: System) -> None:
    for name in ("adapter", "lora", "loras"):
        body = {"input": "a", "provider_options": {"video": {name: ["fast4"]}}}
        error = refused(client.post("/v1/responses", json=body), system)

        assert error["code"] == "unknown_parameter"
        assert error["message"].endswith("did you mean adapters?")


def test_the_defaults_of_an_adapter_hold_and_the_callers_values_win(client: FlaskClient) -> None:
    options = flat(client, adapters=["fast4"]).get_json()["provider_options"]["video"]
    assert (options["steps"], options["guidance_scale"], options["guidance_scale_2"]) == (2, 1.0, 1.0)
    assert options["flow_shift"] == 5.0

    options = flat(client, adapters=["fast4"], steps=6, guidance_scale=3).get_json()["provider_options"]["video"]
    assert (options["steps"], options["guidance_scale"], options["guidance_scale_2"]) == (6, 3.0, 1.0)


def test_the_callers_rate_is_that_of_seconds_and_else_the_adapters(client: FlaskClient, system: System) -> None:
    assert stored(system, flat(client, adapters=["slow"], seconds=2)).task.num_frames == 9
    assert stored(system, flat(client, adapters=["slow"], seconds=2, fps=8)).task.num_frames == 17


def test_without_a_choice_nothing_changes(client: FlaskClient, system: System) -> None:
    for model in ("text", "both"):
        job = stored(system, respond(client, model=model))
        assert (job.task.adapters, job.task.steps, job.task.guidance_scale) == ((), 4, 5.0)
        assert echoed(client.get(f"/v1/responses/resp_{job.id}")) == []


def test_the_usual_adapters_are_used_unless_others_are_named(client: FlaskClient, system: System) -> None:
    jobs = [stored(system, flat(client, "usual", **body)) for body in ({}, {"adapters": []}, {"adapters": ["noir"]})]

    assert [job.task.adapters for job in jobs] == [(FAST4,), (), (UsedAdapter("noir", 0.8, 0.8),)]
    assert [job.task.steps for job in jobs] == [2, 4, 4]


def test_a_merged_adapter_is_always_used(client: FlaskClient, system: System) -> None:
    usual, named, both = (
        stored(system, respond(client, sent, "merged")).task.adapters
        for sent in (None, [{"name": "fast4", "strength": 1}], ["noir"])
    )
    assert (usual, named, both) == ((FAST4,), (FAST4,), (FAST4, UsedAdapter("noir", 0.8, 0.8)))

    for sent in ([], [{"name": "fast4", "strength": 0.5}], [{"name": "fast4", "strength": 0}]):
        error = respond(client, sent, "merged").get_json()["error"]
        assert (error["param"], error["code"]) == (f"{VIDEO}.adapters", "invalid_value")


@pytest.mark.parametrize("model", ["text", "usual", "merged", "both"])
@pytest.mark.parametrize("sent", [None, ["noir"], [{"name": "noir", "strength": -2.5}]], ids=str)
def test_what_is_echoed_gives_the_same_job(client: FlaskClient, system: System, model: str, sent: Any) -> None:
    first = respond(client, sent, model)
    options = first.get_json()["provider_options"]["video"]
    again = respond(client, model=model, **options)
    other = flat(client, model, provider_options={"video": options})

    assert {stored(system, answer).task for answer in (first, again, other)} == {stored(system, first).task}
    assert again.get_json()["provider_options"] == other.get_json()["provider_options"] == {"video": options}


def test_one_expert_has_one_strength(client: FlaskClient, system: System) -> None:
    error = refused(respond(client, [{"name": "noir", "strength": {"high": 3, "low": 1.5}}], "both"), system)

    assert error["message"].startswith("both has one expert: the strength of noir must be one number")


def test_a_remix_keeps_the_adapters(client: FlaskClient, system: System) -> None:
    for model, sent in (("text", ["noir", {"name": "style", "strength": 2}]), ("usual", []), ("merged", ["noir"])):
        source = flat(client, model, adapters=sent, seed=3).get_json()
        remix = client.post(f"/v1/videos/{source['id']}/remix", json={"prompt": "b"})

        assert remix.get_json()["provider_options"] == source["provider_options"]
    error = client.post(f"/v1/videos/{source['id']}/remix", json={"prompt": "b", "adapters": []}).get_json()["error"]
    assert error["param"] == "adapters"


def test_a_keyed_request_has_its_adapters(client: FlaskClient) -> None:
    def ask(**body: Any) -> tuple[int, str | None]:
        headers = {"Idempotency-Key": "a"}
        answer = client.post("/v1/videos", json={"model": "text", "prompt": "a", **body}, headers=headers)
        return answer.status_code, answer.get_json().get("id")

    _, made = ask(adapters=["noir"])
    assert ask(lora={"name": "noir"}) == ask(adapters=[{"name": "noir"}]) == (200, made)
    for other in ({}, {"adapters": []}, {"adapters": ["fast4"]}, {"adapters": [{"name": "noir", "strength": 2}]}):
        assert ask(**other)[0] == 422


def test_images_have_adapters_too(client: FlaskClient, system: System, worker: Worker) -> None:
    body = {"model": "text", "prompt": "a", "n": 2, "adapters": ["noir"]}
    answer = client.post("/v1/images/generations", json=body).get_json()
    block = {"provider_options": {"image": {"adapters": ["fast4"], "num_images": 2}}}
    other = client.post("/v1/responses", json={"model": "text", "input": "a", **block})

    assert answer["numerics"] == {"reproducible": True, "lossy": ["adapter noir"], "may_vary_with": []}
    found = [system.jobs.get(image["id"].removeprefix("image_"), "local") for image in answer["data"]]
    assert [job.task.adapters for job in found if job] == [(UsedAdapter("noir", 0.8, 0.8),)] * 2
    assert echoed(other) == [{"name": "fast4", "strength": 1.0}]


def test_the_other_routes_for_videos_have_adapters_too(client: FlaskClient, system: System, worker: Worker) -> None:
    for path in ("sync", "generations"):
        answer = client.post(f"/v1/videos/{path}", json={"model": "text", "prompt": "a", "lora": {"name": "noir"}})
        assert answer.status_code == 200
    made = client.get("/v1/videos").get_json()["data"]

    assert [video["provider_options"]["video"]["adapters"][0]["name"] for video in made] == ["noir"] * 2
    assert [video["numerics"]["lossy"] for video in made] == [["adapter noir"]] * 2


def test_every_answer_says_what_its_numbers_depend_on(client: FlaskClient, system: System) -> None:
    job = stored(system, respond(client, ["fast4", "noir"]))
    expected = {"reproducible": True, "lossy": ["adapter fast4", "adapter noir"], "may_vary_with": []}

    assert job.numerics == Numerics(True, ("adapter fast4", "adapter noir"))
    for path in (f"/v1/responses/resp_{job.id}", f"/v1/videos/video_{job.id}"):
        assert client.get(path).get_json()["numerics"] == expected
    assert client.get("/v1/videos").get_json()["data"][0]["numerics"] == expected
    plain = flat(client).get_json()["numerics"]
    assert plain == {"reproducible": True, "lossy": [], "may_vary_with": []}


def test_a_job_of_an_older_version_has_no_numerics(client: FlaskClient, system: System, settings: Settings) -> None:
    job = stored(system, flat(client))
    with open_database(settings.data / "jobs.sqlite").write() as db:
        db.execute(update(jobs).values(numerics=None))

    for path in (f"/v1/responses/resp_{job.id}", f"/v1/videos/video_{job.id}"):
        assert client.get(path).get_json()["numerics"] is None


def test_a_call_of_a_function_has_neither(client: FlaskClient) -> None:
    body = {"model": "text", "input": "a", "tools": [{"type": "function", "name": "f"}]}
    answer = client.post("/v1/responses", json=body).get_json()

    assert answer["output"][0]["type"] == "function_call"
    assert {"numerics", "provider_options"} & answer.keys() == set()


def test_a_model_lists_its_adapters(client: FlaskClient, system: System) -> None:
    shown = {entry["id"]: entry.get("adapters") for entry in client.get("/v1/models").get_json()["data"]}
    fast4, noir, _, style = shown["usual"]

    assert fast4 == {
        "name": "fast4", "source": "fast4.safetensors", "revision": None, "strength": 1.0,
        "defaults": {
            "steps": 2, "guidance_scale": 1.0, "guidance_scale_2": 1.0,
            "flow_shift": {"small": 5.0, "large": 5.0, "boundary": 399360},
        },
        "merged": False, "default": True, "weights": "here",
    }  # fmt: skip
    assert (noir["strength"], noir["defaults"], noir["default"]) == (0.8, {}, False)
    assert style["strength"] == {"high": 3.0, "low": 1.5}
    assert [each["merged"] for each in shown["merged"]] == [False, True]
    assert (shown["image"], shown["some"]) == ([], None)
    assert client.get("/v1/models/usual").get_json()["adapters"] == shown["usual"]


def test_the_document_has_the_state_of_a_file_that_cannot_be_read(client: FlaskClient, system: System) -> None:
    model = next(model for model in system.registries.poll().models if model.name == "usual")
    Path(model.adapters[0].source).write_bytes(b"GGUF" + bytes(99))

    listed = client.get("/v1/models/usual").get_json()

    assert listed["adapters"][0]["weights"] == "broken"
    Contract(closed(client.get("/openapi.json").get_json())).fits(listed, {"$ref": "#/components/schemas/Model"})


def test_the_document_describes_adapters(client: FlaskClient, system: System, worker: Worker) -> None:
    document = client.get("/openapi.json").get_json()
    contract = Contract(closed(document))
    asked = [{"name": "style", "strength": {"high": 2, "low": 1}}, "noir"]
    for sent in (asked, [], ["fast4"]):
        contract.fits({"prompt": "a", "adapters": sent}, {"$ref": "#/components/schemas/CreateVideo"})
        contract.fits({"adapters": sent}, {"$ref": "#/components/schemas/MediaOptions"})
    for lora in ("noir", {"name": "noir", "scale": 2}, ["noir"], None):
        contract.fits({"prompt": "a", "lora": lora}, {"$ref": "#/components/schemas/CreateVideo"})
    for path, answer in (
        ("/v1/responses", respond(client, asked)),
        ("/v1/videos", flat(client, adapters=asked)),
        ("/v1/images/generations", client.post("/v1/images/generations", json={"model": "text", "prompt": "a", "adapters": asked})),
    ):  # fmt: skip
        contract.hold("POST", path, answer)
    contract.hold("GET", "/v1/models", client.get("/v1/models"))
    for wrong in ([{"name": "noir", "strength": 11}], ["a"] * 17, [{"name": "noir", "rank": 1}], [""], [1]):
        with pytest.raises(AssertionError):
            contract.fits({"adapters": wrong}, {"$ref": "#/components/schemas/MediaOptions"})
