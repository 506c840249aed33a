"""The command line, without a server."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.command import Run, runner
from support.hub import Hub, use
from support.server import ROOT

from bench.tools.layout import write_model
from router.engine.device import hold
from router.engine.worker import Worker
from router.runtime.release import installed_version
from router.settings import Settings
from router.system import assemble
from router.testing.contract import CHECKS
from router.values import EngineState, PartPath, ResidentBytes

MODELS = """
default: any
models:
  text: {backend: still, modality: t2v, defaults: {width: 64, height: 64, num_frames: 5, steps: 3, negative_prompt: ''}}
  image: {backend: still, modality: i2v, defaults: {width: 64, height: 64, num_frames: 5, steps: 3, negative_prompt: ''}}
  far: {backend: still, modality: t2v, source: some-org/far-away}
routes:
  any: [text, image]
"""
WHOLE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate ...` in this process; return its status, output and messages."""
    models = tmp_path / "models.yaml"
    models.write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, capsys, models=models, data=tmp_path / "data", plugins="")


def test_check_counts_what_is_right(run: Run) -> None:
    status, out, _ = run("check")

    assert (status, "3 models, 1 route, no problems" in out) == (0, True)


def test_check_reports_every_problem_with_its_line(run: Run, tmp_path: Path) -> None:
    bad = (
        "models:\n  a: {backend: nobody, modality: t2v}\n  b: {backend: still}\n  c: {backend: still, modality: t3v}\n"
    )
    (tmp_path / "models.yaml").write_text(bad)
    status, _, err = run("check")

    assert status > 0
    assert [line.split(":")[1] for line in err.splitlines()] == ["2", "3", "4"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("check", 0),
        ("models", 0),
        ("doctor", 0),
        ("pull text", 0),
        ("keys list", 0),
        ("keys revoke nobody", 2),
        ("keys limits nobody --rpm 5", 2),
        ("store backup copy.sqlite", 1),
        ("deploy nginx a.org", 0),
    ],
)
def test_a_command_that_only_reads_makes_no_data_folder(run: Run, tmp_path: Path, command: str, status: int) -> None:
    assert run(*command.split())[0] == status
    assert [path.name for path in tmp_path.iterdir()] == ["models.yaml"]


def test_check_names_missing_packages_of_used_backends_only(run: Run, tmp_path: Path) -> None:
    for name in ("idle", "needy"):
        (tmp_path / f"{name}.py").write_text(
            "from router import Backend, Modality, hookimpl\n@hookimpl\ndef declare_backend():\n"
            f"    return Backend('{name}', frozenset({{Modality.T2V}}), requires=('no_{name}',))\n"
        )
    (tmp_path / "models.yaml").write_text("models: {m: {backend: needy, modality: t2v}}")
    status, out, _ = run("check", "--plugin", "idle.py", "--plugin", "needy.py")

    assert (status, [line for line in out.splitlines() if "note" in line]) == (
        0,
        ["note: the backend needy needs no_needy"],
    )


@pytest.fixture
def broken(run: Run, tmp_path: Path) -> Run:
    """Run commands on a Git LFS pointer as weights and a contradicting entry."""
    folder = write_model(tmp_path / "bad")
    (folder / "vae" / WHOLE).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    write_model(tmp_path / "other")
    added = "  bad: {backend: diffusers, source: ./bad}\n  other: {backend: diffusers, source: ./other, family: wan2.2-t2v-a14b}\n"
    (tmp_path / "models.yaml").write_text(MODELS.replace("routes:", added + "routes:"))
    return run


POINTER = f"{WHOLE} of vae is a Git LFS pointer, not the file itself: 'git lfs pull' in its repository brings it"


def test_check_says_what_is_wrong_with_a_folder_and_where_an_entry_differs(broken: Run, tmp_path: Path) -> None:
    status, out, _ = broken("check")

    file = tmp_path / "models.yaml"
    assert status == 1
    assert out.splitlines()[-3:] == [
        f"{file}:7: models.bad.source: {tmp_path}/bad/vae/{WHOLE}: {POINTER}",
        f"{file}:8: models.other.family: wan2.2-t2v-a14b has experts 2, the folder has 1; a width of 5120, the folder has "
        "16: the folder counts",
        f"{file}: 5 models, 1 route, 2 problems",
    ]


def test_models_shows_what_is_broken_among_the_others(broken: Run) -> None:
    status, out, _ = broken("models")
    rows = {line.split()[0]: line for line in out.splitlines()[:-1]}

    assert status == 0
    assert f"broken: {POINTER}"[:40] in rows["bad"]
    assert "text-to-video" not in rows["bad"]
    assert out.splitlines()[-1] == f"bad: broken: {POINTER}"
    assert "broken" not in rows["other"]


@pytest.mark.parametrize(
    "command", [("export", "bad", "-o", "out"), ("generate", "a cat", "--model", "bad", "-o", "x.mp4")]
)
def test_a_command_with_a_broken_model_says_why(broken: Run, command: tuple[str, ...]) -> None:
    status, _, err = broken(*command)

    assert status == 1
    assert POINTER in err


def test_pull_of_a_broken_model_without_a_hub_has_nothing_to_fetch(broken: Run) -> None:
    assert broken("pull", "bad")[1] == f"bad: nothing to fetch, its weights are broken: {POINTER}\n"


def test_one_model_of_a_broken_folder_is_not_served(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "bad")
    (folder / "transformer" / WHOLE).unlink()
    monkeypatch.setenv("FRAMEGATE_MODEL", str(folder))
    status, _, err = run("check")

    assert status == 1
    assert err.startswith(f"{folder}: transformer needs {WHOLE}, or shards and their index, got none")


def test_check_holds_a_backend_against_its_contract(run: Run) -> None:
    status, out, _ = run("check", "--contract", "still")

    assert status == 0
    assert out.count(": kept") == 2 * len(CHECKS)
    assert "text: each step is reported: kept" in out


def test_check_of_an_unknown_backend_says_which_there_are(run: Run) -> None:
    status, _, err = run("check", "--contract", "nobody")

    assert status > 0
    assert "no backend is called 'nobody'; there are" in err


def test_reload_publishes_what_is_good_and_says_what_changes(run: Run, tmp_path: Path) -> None:
    first, again = run("reload"), run("reload")
    (tmp_path / "models.yaml").write_text(MODELS.replace("  far:", "  near:").replace("steps: 3", "steps: 4"))
    changed = run("reload")

    file, note = (
        tmp_path / "models.yaml",
        f"note: no engine runs on {tmp_path / 'data'}; what starts there reads this\n",
    )
    assert first == (0, f"{file} is revision 1, its first: nothing that runs now follows this file\n{note}", "")
    assert again == (0, f"nothing has changed: {file} is revision 1 already\n{note}", "")
    models = "models: added near; removed far; changed text (defaults), image (defaults)"
    assert changed == (0, f"{file} is revision 2\n{models}\n{note}", "")


def test_reload_of_a_bad_file_reports_every_problem_and_publishes_nothing(run: Run, tmp_path: Path) -> None:
    run("reload")
    bad = "models:\n  a: {backend: nobody, modality: t2v}\n  b: {backend: still}\n"
    (tmp_path / "models.yaml").write_text(bad)
    status, out, err = run("reload")

    assert (status, out) == (1, "")
    assert [line.split(":")[1:3] for line in err.splitlines()] == [
        ["2", " models.a.backend"],
        ["3", " models.b.modality"],
    ]
    (tmp_path / "models.yaml").write_text(MODELS)
    assert "is revision 1 already" in run("reload")[1]


def test_reload_takes_the_shared_options(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(MODELS)
    status, out, _ = run("reload", "--models", "other.yaml", "--data", "there")

    assert (status, out.splitlines()[0]) == (
        0,
        f"{tmp_path / 'other.yaml'} is revision 1, its first: nothing that runs now follows this file",
    )
    assert (tmp_path / "there" / "jobs.sqlite").exists()


def test_reload_has_nothing_to_read_where_one_model_is_served(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEGATE_MODEL", "embedded:wan-nano-t2v")
    status, _, err = run("reload")

    assert (status, "there is no models file to read again" in err) == (1, True)


def test_check_reads_the_file_and_publishes_nothing(run: Run, tmp_path: Path) -> None:
    run("reload")
    (tmp_path / "models.yaml").write_text("models: {only: {backend: still, modality: t2v}}")

    assert "1 model, no routes, no problems" in run("check")[1]
    assert "is revision 2" in run("reload")[1]


def test_models_shows_a_table(run: Run) -> None:
    status, out, _ = run("models")

    rows = [line.split() for line in out.splitlines()]
    assert status == 0
    assert rows[0] == ["NAME", "MODALITY", "BACKEND", "RUNNABLE", "BY", "WEIGHTS", "STATE", "SOURCE"]
    assert rows[1] == ["text", "t2v", "still", "still", "none", "cold", "-"]
    assert rows[3] == ["far", "t2v", "still", "-", "missing", "cold", "some-org/far-away"]
    assert rows[4] == ["any", "(default)", "route", "-", "-", "-", "-", "text,", "image"]


def test_models_shows_the_prices_where_a_model_has_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS.replace("text: {", "text: {price: 0.00025, ", 1))
    heading, text, image, *_ = (line.split() for line in run("models")[1].splitlines())

    assert heading[-2:] == ["PRICE", "SOURCE"]
    assert (text[-2], image[-2]) == ("0.00025", "-")


def test_models_shows_where_a_model_is_and_what_it_takes_there(run: Run, tmp_path: Path) -> None:
    run("models")
    memory = {"text": ResidentBytes(28_600_000_000, 12_200_000_000)}
    state = EngineState("a", "cuda:0", 1, ("text", "image"), ("text",), None, memory=memory, warm=("image",))
    system = assemble(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml"), serving=False)
    system.engines.heartbeat(state)
    rows = run("models")[1].splitlines()

    assert "loaded on cuda:0 (28.6 GB + 12.2 GB shared)" in rows[1]
    assert "warm beside cuda:0" in rows[2]
    assert " cold " in rows[3]


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ({"transformer": PartPath("fast"), "transformer_2": PartPath("fast")}, "(1.0 GB, fast)"),
        (
            {"transformer": PartPath("fast"), "transformer_2": PartPath("diffusers", "it has adapters")},
            "(1.0 GB, transformer fast, transformer_2 diffusers: it has adapters)",
        ),
        ({}, "(1.0 GB)"),
    ],
)
def test_models_shows_by_which_code_a_model_runs(
    run: Run, tmp_path: Path, paths: dict[str, PartPath], said: str
) -> None:
    run("models")
    memory = {"text": ResidentBytes(1_000_000_000, 0)}
    system = assemble(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml"), serving=False)
    system.engines.heartbeat(
        EngineState("a", "cuda:0", 1, ("text",), ("text",), None, memory=memory, paths={"text": paths})
    )

    shown, out = f"loaded on cuda:0 {said}", run("models")[1]
    assert shown[:47] in out.splitlines()[1]
    assert (f"\ntext: {shown}\n" in out) == (len(shown) > 48)


def test_a_gpu_that_is_not_there_is_refused(run: Run) -> None:
    status, _, err = run("serve", "--device", "cuda:63")

    assert (status > 0, "cuda:63 is not there" in err) == (True, True)


def test_pull_has_nothing_to_fetch_for_models_without_a_hub(run: Run) -> None:
    assert "nothing to fetch" in run("pull", "text")[1]


def test_pull_of_an_unknown_model_says_which_there_are(run: Run) -> None:
    status, _, err = run("pull", "nobody")

    assert (status > 0, "no model is called 'nobody'; the models file has any, text, image, far" in err) == (True, True)


def test_a_bad_setting_is_one_clear_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEGATE_THREADS", "many")
    status, _, err = run("models")

    assert status > 0
    assert err == "framegate: FRAMEGATE_THREADS: must be a whole number of at least 1, got 'many'\n"


def test_a_device_that_is_none_is_refused(run: Run) -> None:
    status, _, err = run("serve", "--device", "tpu")

    assert (status > 0, "a device is cpu, cuda:0, cuda:1, ... or all, got 'tpu'" in err) == (True, True)


def test_generate_works_without_a_server(run: Run, tmp_path: Path) -> None:
    status, out, err = run("generate", "a red ball", "-o", "ball.mp4", "--seed", "3", "--url", "embedded")

    assert (status, out.splitlines()[-1]) == (0, "ball.mp4 (seed 3, text)"), err
    assert (tmp_path / "ball.mp4").read_bytes()[4:8] == b"ftyp"


def test_generate_takes_an_image(run: Run, tmp_path: Path) -> None:
    from conftest import png

    (tmp_path / "a.png").write_bytes(png())
    status, out, _ = run("generate", "go", "--image", "a.png", "--num-frames", "1", "--url", "embedded")

    assert (status, out.splitlines()[-1].partition(" ")[0]) == (0, "video.png")
    assert "image)" in out


def test_generate_says_when_no_server_answers(run: Run) -> None:
    status, _, err = run("generate", "go", "--url", "http://127.0.0.1:1")

    assert status > 0
    assert "no server answers at http://127.0.0.1:1: [Errno 111] Connection refused" in err


def test_the_suffix_of_the_file_says_what_to_make(run: Run, tmp_path: Path) -> None:
    status, _, err = run("generate", "a red ball", "-o", "ball.png", "--url", "embedded")
    assert status == 0, err
    assert (tmp_path / "ball.png").read_bytes()[:4] == b"\x89PNG"
    status, _, err = run("generate", "a red ball", "-o", "ball.gif", "--url", "embedded")

    assert (status > 0, "a video is .mp4, an image .png, got ball.gif" in err) == (True, True)


def test_generate_leaves_no_job_where_nobody_can_do_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text(
        "from router import Backend, Modality, hookimpl\n@hookimpl\ndef declare_backend():\n"
        "    return Backend('needy', frozenset({Modality.T2V}), requires=('nowhere_to_be_found',))\n"
    )
    (tmp_path / "models.yaml").write_text(
        "models: {m: {backend: needy, modality: t2v}, n: {backend: still, modality: t2v}}"
    )
    status, _, err = run("generate", "a", "--plugin", "needy.py", "--url", "embedded")
    assert (status > 0, "m cannot run in this Python" in err) == (True, True)
    with hold(tmp_path / "data", "cpu"):
        status, _, err = run("generate", "a", "--model", "n", "--url", "embedded")

    where = f"cpu is held by another engine that uses {tmp_path / 'data'}"
    assert (status, [line.partition(": ")[2] for line in err.splitlines() if where in line]) == (
        1,
        [f"{where}: waiting 10 s for its end", f"{where}: stop it, or give this one its own data folder (--data)"],
    )
    with sqlite3.connect(tmp_path / "data" / "jobs.sqlite") as store:
        assert store.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def state(models: tuple[str, ...]) -> EngineState:
    return EngineState("cpu-1", "cpu", 1, models, ())


def test_generate_does_not_wait_for_a_server_that_has_the_device(run: Run, tmp_path: Path) -> None:
    system = assemble(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml"))
    system.engines.heartbeat(state(("other",)))
    with hold(tmp_path / "data", "cpu"):
        status, _, err = run("generate", "a", "--model", "text", "--url", "embedded")

    assert (status, "waiting" in err) == (1, False)
    assert "give this one its own data folder (--data)" in err


def test_generate_leaves_nothing_to_the_engine_of_another_generate(run: Run, tmp_path: Path) -> None:
    system = assemble(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml"))
    single = Worker(system, "cpu", single=True)
    single.keeper.start()
    status, out, _ = run("generate", "a", "--model", "text", "--url", "embedded", "-o", "a.mp4")
    single.keeper.gone()
    single.keeper.stop()

    assert (status, "a.mp4" in out) == (0, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--adapter", "noir"), "text has no adapter 'noir': it has none"),
        (("--adapter", "noir=0.5", "--adapter", "noir"), "each adapter may be named once, got 'noir' twice"),
        (("--adapter", "noir=-99"), "adapters[0].strength must be a number from -10 to 10"),
        (("--adapter", "noir="), "a strength is a number, got ''"),
        (("--adapter", "noir=nan"), "a strength is a number, got 'nan'"),
        (("--adapter", ""), "adapters[0] must be a name of 1 to 64 characters, got 0 characters"),
        (("--adapter", "noir", "--no-adapters"), "it cannot be there with --adapter"),
    ],
    ids=str,
)
def test_generate_names_adapters(run: Run, options: tuple[str, ...], message: str) -> None:
    status, _, err = run("generate", "a", "--model", "text", "--url", "embedded", *options)

    assert (status > 0, message in err) == (True, True), err


def test_generate_without_adapters_uses_none(run: Run) -> None:
    status, out, err = run("generate", "a", "--model", "text", "--url", "embedded", "--no-adapters", "-o", "a.mp4")

    assert (status, "a.mp4" in out) == (0, True), err


def test_generate_says_why_not(run: Run) -> None:
    status, _, err = run("generate", "go", "--model", "image", "--url", "embedded")

    assert status > 0
    assert "image is image-to-video: it needs an image, got text only" in err


COMMANDS = """
import os
import click
from router import hookimpl

@click.command()
@click.argument("name")
@click.option("--backend")
@click.option("--data")
@click.pass_obj
def own(find, name, backend, data):
    click.echo(f"{find(name).name} {backend} {data} {os.environ.get('FRAMEGATE_BACKEND')}")

@click.group()
def several(): pass

@several.command()
@click.pass_obj
def one(find): click.echo(find("special").name)

@hookimpl
def add_commands(cli):
    cli.add_command(own)
    cli.add_command(own, "again")
    cli.add_command(several)
"""


def test_a_plugins_commands_get_the_shared_options_that_they_lack(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(COMMANDS)
    (tmp_path / "special.yaml").write_text("models: {special: {backend: still, modality: t2v}}")
    monkeypatch.setenv("FRAMEGATE_PLUGINS", str(tmp_path / "mine.py"))

    for name in ("own", "again"):
        said = run(name, "text", "--backend", "b", "--data", "d")
        assert said[:2] == (0, "text b d None\n"), said
    assert run("several", "one", "--models", "special.yaml")[1] == "special\n"


def test_a_command_that_is_given_a_model_fetches_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(COMMANDS)
    monkeypatch.setenv("FRAMEGATE_PLUGINS", str(tmp_path / "mine.py"))
    monkeypatch.setattr("router.catalog.weights.snapshot", None)

    for name in ("far", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"):
        status, _, err = run("own", name)
        assert (status > 0, "which are not on this machine" in err) == (True, True), err


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights" * 100_000)
    hub = Hub("some-org/far-away", folder)
    use(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.close()


def weights_of(run: Run, name: str) -> str:
    """Return the table's state of a model's weights."""
    heading, *rows = run("models")[1].splitlines()
    start, end = heading.index("WEIGHTS"), heading.index("STATE")
    return next(row[start:end].strip() for row in rows if row.startswith(name))


@pytest.mark.slow
def test_pull_fetches_and_models_shows_how_far_it_is(run: Run, hub: Hub) -> None:
    hub.slow = {"model.safetensors"}
    command = [sys.executable, "-c", "from router.cli import main; main()", "pull", "far"]
    seen = {weights_of(run, "far")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pull:
        while "downloading 50 %" not in seen:
            assert pull.poll() is None
            seen.add(weights_of(run, "far"))
        hub.go.set()
        said, _ = pull.communicate(timeout=60)

    assert pull.returncode == 0
    assert "far: " in said
    assert weights_of(run, "far") == "here"
    assert seen <= {"missing", "incomplete", "downloading 0 %", "downloading 50 %"}


@pytest.mark.slow
def test_a_pull_that_is_killed_leaves_what_the_next_takes_up(run: Run, hub: Hub) -> None:
    hub.slow = {"model.safetensors"}
    command = [sys.executable, "-c", "from router.cli import main; main()", "pull", "far"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as pull:
        while weights_of(run, "far") != "downloading 50 %":
            assert pull.poll() is None
        pull.kill()
    until = time.monotonic() + 60
    while weights_of(run, "far") != "incomplete":
        assert time.monotonic() < until
    hub.go.set()

    assert run("pull", "far")[0] == 0
    assert hub.ranges_of("model.safetensors") == [0, 350_000]


@pytest.mark.slow
def test_a_pull_that_fails_is_one_clear_message(run: Run, hub: Hub) -> None:
    status, _, err = run("pull", "some-org/else")

    assert status > 0
    assert err.endswith(
        "some-org/else could not be fetched: the hub has no such repository, or it is private: "
        "check the name, or set HF_TOKEN to a token that may read it\n"
    )


LOSES = """
from router import Backend, Modality, hookimpl
from router.errors import DeviceLost

@hookimpl
def declare_backend():
    return Backend("loses", frozenset({Modality.T2V}))

@hookimpl
def load_model(model):
    return 1

@hookimpl
def generate(task):
    raise DeviceLost("it fell off the bus")
"""


@pytest.mark.slow
def test_generate_ends_when_its_engine_cannot_go_on(tmp_path: Path) -> None:
    small = "defaults: {width: 64, height: 64, num_frames: 5, steps: 3, negative_prompt: ''}"
    (tmp_path / "models.yaml").write_text(f"models: {{a: {{backend: loses, modality: t2v, {small}}}}}")
    (tmp_path / "loses.py").write_text(LOSES)
    where = ("--data", "data", "--models", "models.yaml", "--plugin", "loses.py")
    code = "from router.cli import main; main()"
    command = [sys.executable, "-c", code, "generate", "a ball", "--url", "embedded", *where]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    in_background = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # as a shell's `&` does
    ended = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, preexec_fn=in_background
    )

    assert ended.returncode == 1
    assert "it fell off the bus" in ended.stderr
    assert "the job was cancelled" in ended.stderr


def test_the_version_is_the_one_that_the_api_has(run: Run) -> None:
    status, out, err = run("--version")

    assert (status, out, err) == (0, f"framegate {installed_version()}\n", "")
