"""Each hook has a test, and is documented with its exact arguments."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask import Flask

from registry import ModelSpec
from router import (
    Alternative,
    Backend,
    Frames,
    Job,
    Modality,
    Numerics,
    PartPath,
    Plan,
    PlannedPart,
    Refused,
    Task,
    UsedAdapter,
    hookimpl,
    hookspecs,
)
from router.engine import encoder
from router.engine.memory_fit import MemoryFit
from router.engine.worker import Worker
from router.plugins import Plugins, find
from router.settings import Settings
from router.system import System, assemble
from router.values import Status
from router.web import create_app

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
MODELS = "models: {m: {backend: still, modality: t2v, defaults: {width: 64, height: 64, num_frames: 5, steps: 2}}}"


def hooks() -> dict[str, list[str]]:
    """Every hook and its arguments, from the specs."""
    functions = inspect.getmembers(hookspecs, inspect.isfunction)
    return {
        name: list(inspect.signature(function).parameters)
        for name, function in functions
        if hasattr(function, "framegate_spec")
    }


def system_with(tmp_path: Path, *plugins: object) -> System:
    file = tmp_path / "models.yaml"
    file.write_text(MODELS)
    return assemble(Settings(data=tmp_path / "data", models=file, wait_seconds=10), plugins=[encoder, *plugins])


def made(system: System) -> Job:
    """Send one request and do its job here."""
    answer = create_app(system).test_client().post("/v1/responses", json={"input": "a", "background": True})
    Worker(system, "cpu").run_one()
    job = system.jobs.get(answer.get_json()["id"].removeprefix("resp_"), "local")
    assert job is not None
    return job


def test_every_hook_has_a_test() -> None:
    tests = {name.removeprefix("test_hook_") for name in globals() if name.startswith("test_hook_")}

    assert tests == set(hooks())


def test_every_hook_is_documented_with_its_arguments() -> None:
    table = PAGE.read_text().split("<!-- hooks -->")[1].split("<!-- /hooks -->")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE))

    assert {name: [] if words == "-" else words.split(", ") for name, words in rows.items()} == hooks()


def test_every_hook_says_what_it_is_for() -> None:
    assert [name for name in hooks() if not inspect.getdoc(getattr(hookspecs, name))] == []


def test_hook_declare_backend(tmp_path: Path) -> None:
    class Mine:
        @hookimpl
        def declare_backend(self) -> Backend:
            return Backend("mine", frozenset({Modality.T2V}))

    assert Plugins([*find([]), Mine()]).backends["mine"].modalities == {Modality.T2V}


def test_hook_check_request(tmp_path: Path) -> None:
    class Policy:
        @hookimpl
        def check_request(self, model: ModelSpec, task: Task) -> None:
            if "forbidden" in task.prompt:
                raise Refused(f"{model.name} does not do that")

    system = system_with(tmp_path, Policy())
    refused = create_app(system).test_client().post("/v1/responses", json={"input": "something forbidden"})

    assert refused.status_code == 403
    assert refused.get_json()["error"] == {
        "message": "m does not do that",
        "type": "permission_error",
        "param": "",
        "code": "refused",
    }
    assert system.jobs.newest() == 0


def test_hook_load_model(tmp_path: Path) -> None:
    class Watcher:
        seen: tuple = ()

        @hookimpl(tryfirst=True)
        def load_model(self, model: ModelSpec, device: str) -> None:
            self.seen = (model.name, device)

    watcher = Watcher()
    assert made(system_with(tmp_path, watcher)).status is Status.COMPLETED
    assert watcher.seen == ("m", "cpu")


def test_hook_plan_model(tmp_path: Path) -> None:
    class Plans:
        asked: tuple = ()
        planned: Plan | int = 10**18

        @hookimpl(tryfirst=True)
        def plan_model(self, model: ModelSpec, device: str) -> Plan | int:
            self.asked = (model.name, device)
            return self.planned

    plugin = Plans()
    system = system_with(tmp_path, plugin)
    (model,) = system.registries.poll().models
    fit = MemoryFit(system.settings, system.plugins, system.weights, "cpu")
    need = fit.need(replace(model, folder=tmp_path))

    assert plugin.asked == ("m", "cpu")
    assert need is not None
    assert fit.budget is not None
    assert (need.needed, need.budget) == (10**18, fit.budget.weights)

    smaller = Alternative(Plan((PlannedPart("weights", 10**9),)), {"bits": 4})
    plugin.planned = Plan((PlannedPart("weights", 10**18),), alternatives=(smaller,))
    advised = fit.need(replace(model, folder=tmp_path, options={"bits": 16}))

    assert advised is not None
    assert advised.remedy.startswith("with options: {bits: 4} it needs 1 GB, which fit; or raise FRAMEGATE_")


def test_hook_describe_loaded(tmp_path: Path) -> None:
    class Says:
        said: object = {"whole": PartPath("slow", "it is a test")}

        @hookimpl(tryfirst=True)
        def describe_loaded(self, model: ModelSpec, loaded: object) -> object:
            if isinstance(self.said, Exception):
                raise self.said
            return self.said

    plugin = Says()
    system = system_with(tmp_path, plugin)
    client = create_app(system).test_client()
    worker = Worker(system, "cpu")
    shown = []
    for said in (plugin.said, {}, ValueError("no idea"), {"whole": "nonsense"}):
        plugin.said = said
        client.post("/v1/responses", json={"input": "a", "background": True})
        worker.run_one()
        worker.keeper._keep()
        shown += [system.engines.alive()[0].paths]

    assert shown == [{"m": {"whole": PartPath("slow", "it is a test")}}, {"m": {}}, {"m": {}}, {"m": {}}]


def test_hook_describe_numerics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Says:
        said: object = None

        @hookimpl(tryfirst=True)
        def describe_numerics(self, model: ModelSpec, task: Task) -> object:
            if isinstance(self.said, Exception):
                raise self.said
            return self.said

    class Undetermined:
        @hookimpl
        def declare_backend(self) -> Backend:
            return Backend("dice", frozenset({Modality.T2V}), deterministic=False)

    plugin, varies = Says(), Numerics(False, ("weights fp8",), ("compile",))
    system = system_with(tmp_path, plugin, Undetermined())
    (model,) = system.registries.poll().models
    dice = replace(model, backend="dice")
    client = create_app(system).test_client()
    shown = []
    for said in (varies, None, ValueError("no idea"), "nonsense"):
        plugin.said = said
        shown += [client.post("/v1/responses", json={"input": "a", "background": True}).get_json()["numerics"]]
    plain = {"reproducible": True, "lossy": [], "may_vary_with": []}

    assert shown == [
        {"reproducible": False, "lossy": ["weights fp8"], "may_vary_with": ["compile"]}, plain, plain, plain,
    ]  # fmt: skip
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "the backend still failed to describe the numbers of a job of m"
    ] * 2
    plugin.said = None
    task = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset(), adapters=(UsedAdapter("noir"),))
    assert system.plugins.numerics(dice, task) == Numerics(False, ("adapter noir",))


def test_hook_generate(tmp_path: Path) -> None:
    class Instead:
        @hookimpl(tryfirst=True)
        def generate(self, task: Task) -> Frames:
            raise RuntimeError("secret of the server")

    job = made(system_with(tmp_path, Instead()))

    assert job.failure is not None
    assert job.failure.code == "generation_failed"
    assert "secret" not in job.failure.message


def test_hook_encode_output(tmp_path: Path) -> None:
    class Encoder:
        @hookimpl
        def encode_output(self, frames: Frames, path: Path) -> bool:
            path.write_bytes(b"mine" * sum(len(chunk) for chunk in frames.pixels))
            return True

    job = made(system_with(tmp_path, Encoder()))

    assert job.artifact is not None
    assert job.artifact.size == 4 * 5


def test_hook_unload_model(tmp_path: Path) -> None:
    class Watcher:
        unloaded = ""

        @hookimpl
        def unload_model(self, model: ModelSpec) -> None:
            self.unloaded = model.name

    watcher = Watcher()
    system = system_with(tmp_path, watcher)
    create_app(system).test_client().post("/v1/responses", json={"input": "a", "background": True})
    worker = Worker(system, "cpu")
    worker.run_one()
    worker.keeper.stop()
    worker.run()

    assert watcher.unloaded == "m"


def test_hook_job_changed(tmp_path: Path) -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard: list[Status] = []

        @hookimpl
        def job_changed(self, job: Job) -> None:
            self.heard.append(job.status)

    listener = Listener()
    made(system_with(tmp_path, listener))

    assert listener.heard == [Status.QUEUED, Status.IN_PROGRESS, Status.COMPLETED]


def test_hook_configure_app(tmp_path: Path) -> None:
    class Extra:
        @hookimpl
        def configure_app(self, app: Flask) -> None:
            app.add_url_rule("/extra", view_func=lambda: "mine")

    assert create_app(system_with(tmp_path, Extra())).test_client().get("/extra").text == "mine"


def test_hook_add_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from router.cli.main import cli, main

    plugin = tmp_path / "greet.py"
    plugin.write_text(
        "import click\nfrom router import hookimpl\n"
        "@click.command()\ndef greet():\n    click.echo('hello from a plugin')\n"
        "@hookimpl\ndef add_commands(cli):\n    cli.add_command(greet)\n"
    )
    monkeypatch.setenv("FRAMEGATE_PLUGINS", str(plugin))
    monkeypatch.setattr("sys.argv", ["framegate", "greet"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 0
    assert capsys.readouterr().out == "hello from a plugin\n"
    assert isinstance(cli, click.Group)
    assert CliRunner().invoke(cli, ["greet"]).output == "hello from a plugin\n"
