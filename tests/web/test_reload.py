"""A reload as the callers see it: two web processes over one data folder."""

from threading import Event, Thread

import pytest
from conftest import LIMITS, SMALL
from flask.testing import FlaskClient
from support.patience import until

from registry import ModelSpec, RegistryError
from router import Task, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.values import EngineState
from router.web import create_app

NEXT = f"""
default: both
models:
  image: {{backend: still, modality: i2v, {SMALL}, {LIMITS}}}
  both: {{backend: still, modality: ti2v, aliases: [org/both], {SMALL.replace("steps: 4", "steps: 2")}, limits: {{pixels: 16384, frames: 9, steps: 60}}}}
  fresh: {{backend: still, modality: t2v, {SMALL}, {LIMITS}}}
routes:
  any: [fresh, image]
"""


@pytest.fixture
def clients(system: System, settings: Settings) -> tuple[FlaskClient, FlaskClient]:
    """Two web processes' front doors; the first is that of `system`."""
    return create_app(system).test_client(), create_app(assemble(settings, plugins=[encoder])).test_client()


def served(client: FlaskClient) -> list[str]:
    return [entry["id"] for entry in client.get("/v1/models").get_json()["data"]]


def ask(client: FlaskClient, model: str | None, **video: object) -> tuple[int, dict]:
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    answer = client.post("/v1/responses", json=body)
    return answer.status_code, answer.get_json()


def reload(system: System, text: str) -> None:
    system.settings.models.write_text(text)
    system.registries.reload()


def test_every_web_process_serves_what_was_reloaded(system: System, clients: tuple[FlaskClient, ...]) -> None:
    reload(system, NEXT)

    for client in clients:
        until(lambda client=client: served(client) == ["any", "image", "both", "fresh"])
        status, removed = ask(client, "text")
        assert (status, removed["error"]["code"]) == (404, "model_not_found")
        assert "served here: any, image, both, fresh" in removed["error"]["message"]
        assert ask(client, "both", num_frames=17)[1]["error"]["code"] == "limit_exceeded"
        chosen = {name: ask(client, name)[1]["model"] for name in (None, "any", "org/both", "fresh")}
        assert chosen == {None: "both", "any": "fresh", "org/both": "both", "fresh": "fresh"}
        assert ask(client, "both")[1]["provider_options"]["video"]["steps"] == 2
        assert client.get("/v1/models/org/both").get_json()["default"] is True


def test_a_job_says_which_revision_accepted_it(system: System, clients: tuple[FlaskClient, ...]) -> None:
    first = ask(clients[1], "both")[1]
    reload(system, NEXT)
    until(lambda: "fresh" in served(clients[1]))
    second = ask(clients[1], "both")[1]

    jobs = [system.jobs.get(made["id"].removeprefix("resp_"), "local") for made in (first, second)]
    assert [job and job.revision for job in jobs] == [1, 2]


def test_a_request_sees_one_registry_from_begin_to_end(settings: Settings) -> None:
    class Slow:
        """A policy that takes its time."""

        asked, go = Event(), Event()

        @hookimpl
        def check_request(self, model: ModelSpec, task: Task) -> None:
            self.asked.set()
            self.go.wait(60)

    slow = Slow()
    system = assemble(settings, plugins=[encoder, slow])
    client, answers = create_app(system).test_client(), []
    thread = Thread(target=lambda: answers.append(ask(client, "text")))
    thread.start()
    slow.asked.wait(60)
    reload(system, NEXT)
    until(lambda: system.registries.poll().revision == 2)
    slow.go.set()
    thread.join(60)

    (status, made), *_ = answers
    job = system.jobs.get(made["id"].removeprefix("resp_"), "local")
    assert job is not None
    assert (status, job.model, job.revision) == (200, "text", 1)


def test_a_bad_file_changes_nothing_for_the_callers(system: System, clients: tuple[FlaskClient, ...]) -> None:
    before = served(clients[0])
    with pytest.raises(RegistryError, match="not YAML"):
        reload(system, "models: [")

    assert all(served(client) == before for client in clients)
    assert ask(clients[0], "text")[0] == 200


def test_engines_have_time_to_take_up_what_is_new(settings: Settings) -> None:
    settings = Settings(data=settings.data, models=settings.models, engine_missing_seconds=3)
    system = assemble(settings, plugins=[encoder])
    client = create_app(system).test_client()
    busy = EngineState("e", "cpu", 1, tuple(model.name for model in system.registries.poll().models), ())
    until(lambda: system.registries.age > 3)
    system.engines.heartbeat(busy)
    reload(system, NEXT)
    until(lambda: "fresh" in served(client))

    assert ask(client, "fresh")[0] == 200  # no engine has offered it yet
    until(lambda: system.registries.age > 3)
    assert ask(client, "fresh")[1]["error"]["code"] == "model_unavailable"


def test_what_was_added_is_made(system: System, clients: tuple[FlaskClient, ...], worker: Worker) -> None:
    reload(system, NEXT)
    until(lambda: "fresh" in served(clients[1]))
    made = clients[1].post("/v1/responses", json={"model": "fresh", "input": "a"}).get_json()

    assert (made["status"], made["model"]) == ("completed", "fresh")
