"""A server with world-writable plugins or weights warns at its start, and serves."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.server import Server

pytestmark = pytest.mark.slow

MODELS = """
models:
  text: {{backend: still, modality: t2v, source: {source}}}
"""


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Return a folder with a plugin and a model, writable by its owner alone."""
    before = os.umask(0o022)
    folder = tmp_path / "own"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "quiet.py").write_text('"""Nothing."""\n')
    (folder / "model" / "vae").mkdir(parents=True)
    (folder / "model" / "vae" / "model.safetensors").touch()
    os.umask(before)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)
    return folder


def warnings_of(serve: Callable[..., Server], folder: Path) -> list[str]:
    """Return the warnings of a server's start."""
    server = serve(MODELS.format(source=folder / "model"), plugins=folder / "plugins")
    assert server.call("/healthz") == (200, {"status": "ok"})
    server.stop()
    return [line.partition("WARNING ")[2] for line in server.log.read_text().splitlines() if "others may" in line]


def test_what_everybody_may_change_is_a_warning_and_said_once(serve: Callable[..., Server], closed: Path) -> None:
    (closed / "plugins" / "quiet.py").chmod(0o666)
    (closed / "model" / "vae").chmod(0o777)
    plugins, weights = warnings_of(serve, closed)
    more = "; chmod o-w what is yours"

    assert plugins.endswith(f"others may change the plugins: everybody may change {closed}/plugins/quiet.py{more}")
    assert weights.endswith(f"others may change the weights of text: everybody may change {closed}/model/vae{more}")


def test_what_nobody_else_may_change_is_no_warning(serve: Callable[..., Server], closed: Path) -> None:
    assert warnings_of(serve, closed) == []
