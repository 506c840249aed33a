"""Every plugin and command of docs/plugins.md runs as printed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from support.server import ROOT, Server, free_port, serve

from router import Backend, Task
from router.plugins import Plugins, find
from router.testing.contract import CHECKS
from tests.test_words import faults

__all__ = ["serve"]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PIP = 'exec {python} -m pip install --quiet --no-index --no-deps --no-build-isolation --target {site} "$3"\n'
MODELS = "models: {m: {backend: still, modality: t2v, defaults: {width: 64, height: 64, num_frames: 5, steps: 2}}}"


def blocks(language: str, tag: str = "") -> list[tuple[str, str]]:
    """Return the file name and the text of each block with a tag."""
    found = [(kind, rest.strip(), text) for kind, rest, text in BLOCK.findall(PAGE)]
    return [(rest.partition("=")[2], text) for kind, rest, text in found if kind == language and rest.startswith(tag)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder of a reader: the page's files, and programs by their names."""
    for language in ("python", "yaml"):
        for name, text in blocks(language, "file="):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
    programs = {
        "framegate": f"exec {sys.executable} -c 'from router.cli import main; main()' \"$@\"\n",
        "python": f'exec {sys.executable} "$@"\n',
        "pip": PIP.format(python=sys.executable, site=tmp_path / "site"),  # not into the environment of the tests
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAMEGATE_", "PYTEST_"))}
    paths = os.pathsep.join([str(ROOT), str(folder / "site")])
    own = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}
    own |= {"PYTEST_ADDOPTS": "-p no:cacheprovider", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # ours take a second each
    return kept | own | {"FRAMEGATE_DATA": str(folder / "data")}


@pytest.mark.slow
def test_every_command_works_as_printed(folder: Path) -> None:
    output = ""
    for _, code in [block for block in blocks("bash") if block not in blocks("bash", "serve")]:
        command = ["bash", "-euo", "pipefail", "-c", code]
        ended = subprocess.run(
            command, cwd=folder, env=environ(folder), capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, f"{code}\n{ended.stdout}{ended.stderr}"
        output += ended.stdout

    assert output.count(": kept") == 4 * len(CHECKS)  # rainbow, bands with and without an image, palette
    assert f"{2 * (len(CHECKS) + 1)} passed" in output
    assert f"{len(CHECKS) + 1} passed" in output
    assert f"{folder / 'weights'}\n" in output
    for name in ("rainbow.mp4", "my-waves/waves.mp4"):
        assert (folder / name).read_bytes()[4:8] == b"ftyp"


@pytest.mark.slow
def test_the_printed_server_makes_a_video(folder: Path) -> None:
    ((_, code),) = blocks("bash", "serve")
    port = free_port()
    with open(folder / "log", "wb") as log:
        command = ["bash", "-c", f"exec {code.replace('8001', str(port))}"]
        process = subprocess.Popen(command, cwd=folder, env=environ(folder), stdout=log, stderr=log)
    server = Server(process, port, folder / "rainbow-data", folder / "log")
    try:
        server.ready()
        made = server.call("/v1/responses", {"model": "rainbow", "input": "a"})[1]
    finally:
        server.stop()

    assert (made["status"], made["warnings"]) == ("completed", [])


@pytest.mark.slow
def test_a_policy_a_listener_and_a_route_do_what_the_page_says(
    folder: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINISHED", str(folder / "finished.txt"))
    files = os.pathsep.join(str(folder / name) for name in ("policy.py", "listener.py", "routes.py"))
    server = serve(MODELS, workers=1, plugins=files)
    refused = server.call("/v1/responses", {"input": "my Password"})
    long = server.call("/v1/videos", {"prompt": "a", "model": "m", "seconds": 20})
    made = server.call("/v1/responses", {"input": "a"})[1]

    assert (refused[0], refused[1]["error"]["message"]) == (403, "m draws no passwords")
    assert (long[0], long[1]["error"]["code"]) == (400, "limit_exceeded")
    assert server.fetch("/hello") == b"hello from a plugin\n"
    line = server.until(lambda: (folder / "finished.txt").exists() and (folder / "finished.txt").read_text())
    assert line.startswith(f"{made['id'].removeprefix('resp_')} m ")


def test_the_warnings_of_the_page_are_those_of_its_backend(folder: Path) -> None:
    from router.settings import Settings
    from router.system import assemble
    from router.testing.contract import Subject

    settings = Settings(data=folder / "data", models=folder / "bands.yaml", plugins=(folder / "bands.py",))
    system = assemble(settings)
    model = replace(system.registries.poll().find("bands"), options={"bands": 1, "direction": "left"})
    subject = Subject(system.plugins, model, "cpu")
    frames = subject.generate(replace(subject.task, negative_prompt="dark"))

    assert len(list(frames.pixels)) == 2
    assert frames.warnings == ("bands have no use for a negative prompt",)
    assert frames.late_warnings() == ("all pixels have one colour",)


def test_every_plugin_of_the_page_fits(folder: Path) -> None:
    names = [name for name, _ in blocks("python", "file=") if "/" not in name]
    plugins = Plugins(find([folder / name for name in names]))

    assert plugins.broken == ()
    assert {"rainbow", "bands", "palette"} <= plugins.backends.keys()
    assert len(names) == 8


@pytest.mark.parametrize("kind", [Task, Backend])
def test_every_field_is_in_a_table(kind: type) -> None:
    cells = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE))))

    assert {each.name for each in fields(kind)} - cells == set()


def test_the_plugins_of_the_page_keep_our_own_rules(folder: Path) -> None:
    files = [folder / name for name, _ in blocks("python", "file=")]
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", ROOT / ".ruff.toml", *files]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def test_every_block_has_a_language_and_is_run() -> None:
    unknown = [rest for kind, rest, _ in BLOCK.findall(PAGE) if kind not in ("python", "yaml", "bash", "toml")]

    assert unknown == []
    assert [name for name, _ in blocks("python") if not name] == []


def test_the_entry_point_is_the_one_of_a_new_plugin() -> None:
    ((_, toml),) = blocks("toml")
    template = (ROOT / "router" / "cli" / "plugin_template" / "pyproject.toml.jinja").read_text()

    assert toml.replace("my-waves", "{{ name }}").replace("my_waves", "{{ module }}") in template


def test_the_docstrings_of_the_page_keep_the_rule_of_words() -> None:
    lines = re.findall(r'^ *"""(.*?)"""$', "\n".join(text for _, text in blocks("python")), re.MULTILINE)

    assert len(lines) >= 7
    assert [line for line in lines if [*faults(line)]] == []
