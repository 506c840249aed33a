"""Commands refuse names that lead elsewhere, and write no file outside the data folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import runner

MODELS = "models:\n  text: {backend: still, modality: t2v}\n"
NAMES = (
    "../../secret",
    "%2e%2e%2fsecret",
    "..\\secret",
    "a/../../secret",
    "a/..",
    "a/b/c",
    "org/name/../secret",
    "org/../name",
    "a\nb",
    "a\r\nx-evil: 1",
    "a\x1b[2J",
    "/etc/passwd",
    "~root/x",
    "a" * 5000,
    "",
)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate ...` in this process without a hub; return its status and output."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "models.yaml").write_text(MODELS)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(home / "hub"))
    monkeypatch.chdir(home)

    framegate = runner(monkeypatch, capsys, models=home / "models.yaml", data=home / "data", plugins="")

    def both(*arguments: str) -> tuple[int, str]:
        status, out, err = framegate(*arguments)
        return status, out + err

    return both


# Every name goes to the first of these; a path, dots, a control character and a home to each of the others.
COMMANDS = (
    ("pull",),
    ("export", "-o", "made"),
    ("generate", "--model"),
    ("keys", "create"),
    ("keys", "create", "good", "--owner"),
    ("keys", "revoke"),
    ("engine", "--device"),
    ("serve", "--device"),
    ("check", "--contract"),
)
CASES = [(command, name) for command in COMMANDS for name in (NAMES if command == COMMANDS[0] else NAMES[::4])]


@pytest.mark.parametrize(("command", "name"), CASES)
def test_a_name_that_leads_elsewhere_is_refused(run: Run, tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    last = ("a",) if command[0] == "generate" else ()
    status, said = run(*command, name, *last)

    assert status != 0, said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert not (tmp_path / "home" / "made").exists()
    assert not [path for path in tmp_path.rglob("*") if "secret" in path.name]


@pytest.mark.parametrize("name", NAMES[::3])
def test_reload_takes_no_such_name_from_the_models_file(run: Run, tmp_path: Path, name: str) -> None:
    import yaml

    entry = {"backend": "still", "modality": "t2v"}
    (tmp_path / "home" / "models.yaml").write_text(yaml.safe_dump({"models": {name: entry}}))
    status, said = run("reload")

    assert (status, "models" in said) in ((1, True), (0, True))
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
