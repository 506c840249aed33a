"""systemd verifies every unit without a message."""

import subprocess
from pathlib import Path

import pytest
from support.edge import framegate, need

UNITS = ("framegate.target", "framegate-web.socket", "framegate-web.service", "framegate-engine@.service")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of printed units with another program: none may be installed."""
    return printed(tmp_path)


def printed(folder: Path, **settings: object) -> Path:
    framegate("deploy", "systemd", str(folder), **settings)
    for unit in (folder / name for name in UNITS):
        lines = unit.read_text().splitlines()
        unit.write_text("\n".join(_with_another_program(line) for line in lines) + "\n")
    return folder


def _with_another_program(line: str) -> str:
    key, _, command = line.partition("=")
    program, _, arguments = command.partition(" ")
    return f"{key}=/bin/true {arguments}" if key.startswith("Exec") and program.endswith("/framegate") else line


def verified(*units: Path) -> str:
    command = [need("systemd-analyze"), "verify", "--man=no", *map(str, units)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    return checked.stderr


@pytest.mark.slow
def test_systemd_finds_nothing_to_say(folder: Path) -> None:
    assert verified(*(folder / unit for unit in UNITS)) == ""


@pytest.mark.slow
def test_systemd_finds_nothing_to_say_about_a_shared_folder(tmp_path: Path) -> None:
    folder = printed(tmp_path, shared_videos=tmp_path)

    assert f" {tmp_path}\n" in (folder / "framegate-web.service").read_text()
    assert verified(*(folder / unit for unit in UNITS)) == ""


@pytest.mark.slow
def test_systemd_would_say_what_is_misspelt(folder: Path) -> None:
    unit = folder / "framegate-web.service"
    unit.write_text(unit.read_text().replace("Restart=", "Resart="))

    assert "Resart" in verified(unit)
