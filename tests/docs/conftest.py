"""One server for all examples, and a folder as a fresh checkout has it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import ROOT, Server, serve_in

__all__ = ["newcomer"]


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a newcomer's server: the package's models file and no settings."""
    server = serve_in(tmp_path_factory.mktemp("documented"), (ROOT / "models.yaml").read_text())
    yield server
    server.stop()


@pytest.fixture
def newcomer(documented: Server, tmp_path: Path) -> "Newcomer":
    return Newcomer(documented, tmp_path / "checkout")


class Newcomer:
    """The folder and environment of a reader who types the examples of a page."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        programs = folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        (folder / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "circle.png", folder / "docs")
        program = programs / "framegate"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from router.cli import main; main()' \"$@\"\n")
        program.chmod(0o755)
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(server.data)}
        self.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def here(self, text: str) -> str:
        """Return a block's text with the address of this server."""
        text = text.replace("localhost:8000", f"127.0.0.1:{self.server.port}")
        text = text.replace("--port 8000", f"--port {self.server.port}")
        return text.replace("framegate generate", f"framegate generate --url http://127.0.0.1:{self.server.port}")
