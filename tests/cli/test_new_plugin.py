"""`framegate new-plugin`: a package that installs, passes its tests and makes a video."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.command import Run, runner
from support.disks import disk, read_only
from support.server import FRAMEGATE, ROOT

from router.testing.contract import CHECKS
from tests.test_words import faults, overused

FILES = {
    ".gitignore",
    "README.md",
    "models.yaml",
    "pyproject.toml",
    "src/my_waves.py",
    "tests/conftest.py",
    "tests/test_contract.py",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, capsys, "new-plugin", data=tmp_path / "data", plugins="")


@pytest.fixture
def package(run: Run, tmp_path: Path) -> Path:
    assert run("my-waves")[::2] == (0, "")
    return tmp_path / "my-waves"


def written(package: Path) -> set[str]:
    return {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}


def test_it_says_what_to_do_next(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("my-waves", "--folder", str(tmp_path))

    assert status == 0
    steps = f"'cd {tmp_path}/my-waves', \"pip install -e '.[test]'\" and 'python -m pytest'"
    assert out == f"{tmp_path}/my-waves is written: {steps} show that it works\n"
    assert written(tmp_path / "my-waves") == FILES


def test_every_instruction_is_the_same(package: Path) -> None:
    pages = [(package / "README.md").read_text(), (ROOT / "docs" / "plugins.md").read_text()]

    for page in pages:
        assert "\npip install -e '.[test]'\npython -m pytest" in page
        assert not re.search(r"^pytest( |$)", page, re.MULTILINE)


def call(package: Path, *command: str, **environ: str) -> str:
    """Run a command in the package and return its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAMEGATE_", "PYTEST_"))}
    ended = subprocess.run(
        command, cwd=package, env=kept | environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_the_package_installs_passes_its_tests_and_makes_a_video(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    call(package, sys.executable, "-m", "pip", "install", *offline, "--target", str(site), ".")
    (package / "src" / "my_waves.py").unlink()  # what is installed counts
    environ = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "FRAMEGATE_DATA": str(tmp_path / "data")}
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the plugins of our own tests import for a second
    tested = call(package, sys.executable, "-m", "pytest", **environ, **alone)
    made = call(package, *FRAMEGATE, "generate", "a", "--models", "models.yaml", "--url", "embedded", **environ)

    assert f"{len(CHECKS) + 1} passed" in tested
    assert made.endswith(", my-waves)\n")
    assert (package / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_package_is_named_everywhere(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())

    assert project["project"]["name"] == "my-waves"
    assert project["project"]["entry-points"] == {"framegate": {"my-waves": "my_waves"}}
    assert project["tool"]["setuptools"] == {"package-dir": {"": "src"}, "py-modules": ["my_waves"]}


def test_the_code_keeps_our_own_rules(package: Path) -> None:
    for command in (("check",), ("format", "--check")):
        call(package, sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(ROOT / ".ruff.toml"), ".")
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        named = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
        lines = [text.split("\n")[0] for node in named if (text := ast.get_docstring(node))]
        assert [line for line in lines if [*faults(line)]] == []
        assert not any(overused(getattr(node, "name", "")) for node in named)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("café", "must be letters, digits, - and _"),
        ("红", "must be letters, digits, - and _"),
        ("a b", "must be letters, digits, - and _"),
        ("", "must be letters, digits, - and _"),
        ("2d", "must be letters, digits, - and _"),
        ("a-", "must be letters, digits, - and _"),
        ("a.b", "must be letters, digits, - and _"),
        ("../a", "must be letters, digits, - and _"),
        ("a\n", "must be letters, digits, - and _"),
        ("a" * 51, "must be letters, digits, - and _"),
        ("class", "a word of the language Python"),
        ("json", "a module of Python's standard library"),
        ("Json", "a module of Python's standard library"),
        ("router", "a module of Framegate"),
        ("tests", "a module of Framegate"),
        ("still", "a backend here"),
        ("numpy", "a module or package that is installed here"),
        ("pillow-heif", "a module or package that is installed here"),
    ],
)
def test_a_name_that_would_not_work_is_refused(run: Run, tmp_path: Path, name: str, message: str) -> None:
    status, out, err = run(name)

    assert (status, out) == (2, "")
    assert message in err
    assert repr(name) in err
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["on", "null", "E1", "my_waves", "A-b_c"])
def test_a_name_that_yaml_reads_otherwise_is_a_name(run: Run, tmp_path: Path, name: str) -> None:
    import yaml

    run(name)
    (entry,) = yaml.safe_load((tmp_path / name / "models.yaml").read_text())["models"].items()

    assert (entry[0], entry[1]["backend"]) == (name, name)


def test_what_is_there_already_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "waves").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")

    for name in ("waves", "dangling"):
        assert run(name) == (1, "", f"framegate: {name} is there already: choose another name, or another --folder\n")
    assert list((tmp_path / "waves").iterdir()) == []


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_the_folder_must_be_there(run: Run, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")

    assert run("waves", "--folder", folder)[2] == f"framegate: --folder must be a folder that is there, got {folder}\n"


def test_a_folder_that_cannot_be_looked_at_is_one_line(run: Run) -> None:
    assert run("waves", "--folder", "a" * 300)[2].endswith("cannot be used: File name too long\n")


def test_a_folder_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    with read_only(tmp_path / "closed"):
        status, _, err = run("waves", "--folder", "closed")

    assert (status, err) == (1, "framegate: closed/waves cannot be made: Read-only file system\n")


def test_a_full_disk_leaves_nothing(run: Run, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "12k") as small:
        status, _, err = run("waves", "--folder", "small")

        assert (status, err) == (1, "framegate: small/waves cannot be written: No space left on device\n")
        assert list(small.iterdir()) == []
