"""Each hook has a test, and is documented with its exact arguments."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask import Flask
from support.callers import client_of, make_key

from registry import ModelSpec
from router import (
    Alternative,
    Backend,
    Frames,
    Job,
    Modality,
    Numerics,
    Panel,
    PartPath,
    Plan,
    PlannedPart,
    Refused,
    Task,
    UsedAdapter,
    hookimpl,
    hookspecs,
)
from router.auth.keys import Scope
from router.engine import encoder
from router.engine.memory_fit import MemoryFit
from router.engine.worker import Worker
from router.errors import BootError
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


SCRIPT = "export default (root) => root.append('hello from a plugin');"


class Colours:
    """A plugin with a panel, and a path of its own that is open."""

    panel: object = Panel("colours", "Colours", "/colours.js")
    paths: object = ("/colours.json",)

    @hookimpl
    def configure_app(self, app: Flask) -> None:
        app.add_url_rule("/colours.json", view_func=lambda: ["red"], methods=["GET", "POST"])
        app.add_url_rule("/colours.js", endpoint="script", view_func=lambda: SCRIPT)

    @hookimpl
    def open_paths(self) -> object:
        return self.paths

    @hookimpl
    def studio_panel(self) -> object:
        return self.panel


def boot(tmp_path: Path, **answers: object) -> str:
    """Return the error of a server whose plugin answers so."""
    plugin = Colours()
    vars(plugin).update(answers)
    with pytest.raises(BootError) as refused:
        create_app(system_with(tmp_path, plugin))
    return str(refused.value)


def test_hook_open_paths(tmp_path: Path) -> None:
    system = system_with(tmp_path, Colours())
    make_key(system, "team")
    stranger = create_app(system).test_client()

    assert stranger.get("/colours.json").get_json() == ["red"]
    assert stranger.head("/colours.json/").status_code in (200, 404)
    assert stranger.post("/colours.json").status_code == 401
    assert stranger.get("/colours").status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a", "/", "/studio/mine.js", "/v1/responses", "/admin/keys"])
def test_a_plugin_that_opens_a_path_of_the_server_stops_the_boot(tmp_path: Path, path: str) -> None:
    words = "a path of open_paths must be a whole path" if path == "/" else f"opens {path}, a path of Framegate itself"

    assert words in boot(tmp_path, paths=[path])


@pytest.mark.parametrize(
    "paths", ["/text", ["no-slash"], [7], 7, ["/a/"], ["/a?b=c"], ["/a/<id>"], ["/a%2fb"], (1 / n for n in (0,))]
)
def test_open_paths_that_are_none_stop_the_boot(tmp_path: Path, paths: object) -> None:
    assert "open_paths" in boot(tmp_path, paths=paths)


def test_hook_studio_panel(tmp_path: Path) -> None:
    class Hidden:
        @hookimpl
        def studio_panel(self) -> Panel:
            return Panel("hidden", "Hidden", "/hidden.js", admin=True)

    class Nothing:
        @hookimpl
        def studio_panel(self) -> None: ...

    system = system_with(tmp_path, Hidden(), Colours(), Nothing())
    app = create_app(system)
    colours = {"name": "colours", "title": "Colours", "script": "/colours.js", "admin": False}
    hidden = {"name": "hidden", "title": "Hidden", "script": "/hidden.js", "admin": True}
    without_keys = app.test_client().get("/studio/panels").get_json()
    team, boss = make_key(system, "team"), make_key(system, "boss", scopes=(Scope.ADMIN,))
    keyed = create_app(system)

    assert without_keys == {"object": "list", "data": [colours, hidden]}
    assert client_of(keyed, team).get("/studio/panels").get_json()["data"] == [colours]
    assert client_of(keyed, boss).get("/studio/panels").get_json()["data"] == [colours, hidden]
    assert keyed.test_client().get("/studio/panels").status_code == 401
    assert keyed.test_client().get("/colours.js").text == SCRIPT


@pytest.mark.parametrize(
    ("panel", "words"),
    [
        ("colours", "studio_panel must return a Panel, got 'colours'"),
        (Panel("Colours", "Colours", "/colours.js"), "such as 'colours', got 'Colours'"),
        (Panel("colours", " ", "/colours.js"), "the panel 'colours' must have a title, got ' '"),
        (
            Panel("colours", "Colours", "colours.js"),
            "must be a whole path without escapes, such as '/colours.js', got 'colours.js'",
        ),
        *(
            (
                Panel("colours", "Colours", script),
                f"must be a whole path without escapes, such as '/colours.js', got {script!r}",
            )
            for script in (
                "//evil.example/x.js",
                "/\\evil.example/x.js",
                "javascript:alert(1)",
                "https://evil.example/x.js",
                "/../x.js",
                "/a/./x.js",
                "/a/..",
                "/%2e%2e/x.js",
                "/a//x.js",
                "/x\n.js",
                "/x .js",
                "/x.js#",
                "",
            )
        ),
        (Panel("colours", "Colours", "/studio/app.js"), "opens /studio/app.js, a path of Framegate itself"),
    ],
)
def test_a_panel_that_does_not_fit_stops_the_boot(tmp_path: Path, panel: object, words: str) -> None:
    assert words in boot(tmp_path, panel=panel)


def test_two_panels_of_one_name_and_a_hook_that_fails_stop_the_boot(tmp_path: Path) -> None:
    class Fails:
        @hookimpl
        def studio_panel(self) -> Panel:
            raise RuntimeError("no colours today")

    with pytest.raises(BootError, match="studio_panel raised RuntimeError: no colours today"):
        create_app(system_with(tmp_path, Fails()))
    with pytest.raises(BootError, match=r"two plugins have a panel 'colours': .* and "):
        create_app(system_with(tmp_path, Colours(), Colours()))


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
