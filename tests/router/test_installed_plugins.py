"""Plugins of installed packages, by their entry points."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.errors import BootError
from router.plugins import Plugins, find


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text("from router import Backend, Modality, hookimpl\n" + text)
    return path


def install(folder: Path, text: str) -> None:
    """Put a package with an entry point into `folder`, as pip would."""
    write(folder, text, "far_away.py")
    info = folder / "far_away-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framegate]\nfar = far_away\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a folder of packages on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("far_away", None)


def test_an_installed_plugin_is_found(installed: Path) -> None:
    install(installed, "@hookimpl\ndef declare_backend(): return Backend('far', frozenset())\n")

    assert "far" in Plugins(find([])).backends


@pytest.mark.parametrize("text", ["import nowhere_to_be_found\n", "def broken(:\n", "raise SystemExit\n", "1 / 0\n"])
def test_a_broken_installed_plugin_names_its_package(installed: Path, text: str) -> None:
    install(installed, text)
    plugins = Plugins(find([]))
    (broken,) = plugins.broken

    assert (broken.name, broken.origin) == ("far", "far of the package far-away 1.0 (far_away)")
    assert "'pip uninstall far-away'" in broken.advice
    assert "FRAMEGATE_PLUGINS" not in str(broken)
    plugins.configure(object())


def test_a_broken_installed_policy_is_known_by_its_source(installed: Path) -> None:
    install(installed, "import nowhere_to_be_found\n@hookimpl\ndef check_request(): pass\n")

    with pytest.raises(BootError, match="far-away"):
        Plugins(find([])).configure(object())


def test_an_installed_plugin_whose_module_is_gone(installed: Path) -> None:
    install(installed, "")
    (installed / "far_away.py").unlink()

    assert "ModuleNotFoundError" in Plugins(find([])).broken[0].reason


def test_a_package_without_hooks_is_no_plugin() -> None:
    names = {getattr(plugin, "__name__", "") for plugin in find([])}

    assert "plugins.still_backend" in names
    assert "plugins.wan" not in names
