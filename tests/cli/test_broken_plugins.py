"""A broken plugin costs each command one line of error and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.server import FRAMEGATE, ROOT, Server, serve

__all__ = ["serve"]
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 2}"
MODELS = f"""
models:
  good: {{backend: still, modality: t2v, {SMALL}}}
  bad: {{backend: far, modality: t2v, options: {{anything: 1}}, {SMALL}}}
routes:
  both: [bad, good]
"""
REASON = "bad cannot be served: its backend far is not there: the plugin far could not be loaded"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Make an environment with an installed plugin whose import fails."""
    site = tmp_path / "site"
    info = site / "far_away-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "far_away.py").write_text("import nowhere_to_be_found\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framegate]\nfar = far_away\n")
    (tmp_path / "models.yaml").write_text(MODELS)
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "FRAMEGATE_DATA": str(tmp_path / "data")}
    return {**os.environ, **paths, "FRAMEGATE_MODELS": str(tmp_path / "models.yaml"), "FRAMEGATE_PLUGINS": ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["--help"], 0, "Serve generated video"),
        (["--version"], 0, "framegate "),
        (["keys", "create", "ci"], 0, "fg-"),
        (["keys", "list"], 0, "NAME"),
        (["models"], 0, "broken: its backend far is not there"),
        (["check"], 1, "models.bad.backend: far is not there: the plugin far of the package far-away 1.0 (far_away)"),
        (["doctor"], 1, "'pip uninstall far-away' takes it out"),
        (["reload"], 0, "is revision 1"),
        (["export", "--help"], 0, "Usage"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_every_command_works_beside_a_broken_plugin(
    environ: dict[str, str], command: list[str], status: int, said: str
) -> None:
    ended = subprocess.run([*FRAMEGATE, *command], env=environ, capture_output=True, text=True, timeout=120)
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if "is out of service: it cannot be" in line]

    assert (ended.returncode, "Traceback" in ended.stderr) == (status, False), ended.stdout + ended.stderr
    assert said in ended.stdout
    about_it = [line for line in lines if not line.startswith(("broken: ", environ["FRAMEGATE_MODELS"]))]
    assert len(about_it) == 1, lines  # beside those about its models


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["generate", "a", "--url", "embedded", "--model", "bad"], ["models"], ["keys", "list"], ["reload"], ["check"]],
    ids=lambda command: command[0],
)
def test_every_command_says_once_why_a_plugin_of_its_option_is_broken(
    environ: dict[str, str], tmp_path: Path, command: list[str]
) -> None:
    plugin = tmp_path / "late.py"
    plugin.write_text("import nowhere_to_be_found\n")
    ended = subprocess.run(
        [*FRAMEGATE, *command, "--plugin", str(plugin)], env=environ, capture_output=True, text=True, timeout=120
    )
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if f"{plugin} is out of service" in line]

    (line,) = [line for line in said if not line.startswith(environ["FRAMEGATE_MODELS"])]
    assert "No module named 'nowhere_to_be_found'; mend it, or take it out of --plugin or FRAMEGATE_PLUGINS" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("check", "--plugin or FRAMEGATE_PLUGINS names a plugin's file"),
        ("models", "--plugin or FRAMEGATE_PLUGINS names a plugin's file"),
        ("reload", "a new plugin is found at the next start"),
    ],
)
def test_an_unknown_backend_comes_with_advice_for_the_moment(
    environ: dict[str, str], tmp_path: Path, command: str, advice: str
) -> None:
    (tmp_path / "models.yaml").write_text("models: {m: {backend: nobody, modality: t2v}}")
    (tmp_path / "site" / "far_away.py").write_text("")
    ended = subprocess.run([*FRAMEGATE, command], env=environ, capture_output=True, text=True, timeout=120)

    assert f"got nobody; {advice}\n" in ended.stderr
    assert ended.returncode == 1


@pytest.mark.slow
def test_a_server_beside_a_broken_plugin_serves_all_others(tmp_path: Path, serve: Callable[..., Server]) -> None:
    plugin = tmp_path / "far.py"
    plugin.write_text("import nowhere_to_be_found\n")
    server = serve(MODELS, workers=1, plugins=plugin)
    refused = server.call("/v1/responses", {"model": "bad", "input": "a"})
    made = server.call("/v1/responses", {"model": "both", "input": "a"})
    listed = {entry["id"]: entry for entry in server.call("/v1/models")[1]["data"]}

    assert (refused[0], refused[1]["error"]["code"], refused[1]["error"]["message"]) == (
        503,
        "model_unavailable",
        REASON,
    )
    assert (made[0], made[1]["model"]) == (200, "good")
    assert listed["bad"]["weights"] == "broken: its backend far is not there: the plugin far could not be loaded"
    server.stop()
    assert server.log.read_text().count(f"{plugin} is out of service") == 2  # once, and once with the model


@pytest.mark.slow
def test_no_web_half_starts_without_a_policy(environ: dict[str, str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.py"
    policy.write_text("import nowhere_to_be_found\ndef check_request(model): pass\n")
    environ["FRAMEGATE_PLUGINS"] = str(policy)
    code = "import wsgi"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ | {"FRAMEGATE_NO_AUTH": "1"}, capture_output=True, text=True
    )

    assert ended.returncode == 4
    assert f"the plugin {policy} is out of service" in ended.stderr
    assert "It may refuse requests, so none are taken without it" in ended.stderr


@pytest.mark.slow
def test_a_plugin_that_ends_the_process_cannot_be_helped(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import os\nos._exit(7)\n")
    environ["FRAMEGATE_PLUGINS"] = str(tmp_path / "leaves.py")
    ended = subprocess.run([*FRAMEGATE, "models"], env=environ, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 7
