"""Servers with a backend that misbehaves: a new one for each test, or one for all tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.asking import open_gate
from support.server import Server, serve, serve_in

__all__ = ["serve"]
HERE = Path(__file__).parent
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
LIMITS = "limits: {pixels: 921600, frames: 121, steps: 100}"
MODELS = f"""
models:
  good: {{backend: still, modality: t2v, {SMALL}}}
  image: {{backend: still, modality: i2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}, {LIMITS}}}
  heavy: {{backend: still, modality: t2v, options: {{load_seconds: 3}}, {SMALL}}}
  faulty: {{backend: faulty, modality: t2v, {SMALL}, {LIMITS}}}
  refuses: {{backend: faulty, modality: t2v, {SMALL}}}
  breaks: {{backend: faulty, modality: t2v, {SMALL}}}
  kills: {{backend: faulty, modality: t2v, {SMALL}}}
  hangs: {{backend: faulty, modality: t2v, {SMALL}}}
"""
Start = Callable[..., Server]


@pytest.fixture(scope="session")
def models() -> str:
    """The models of every server here."""
    return MODELS


@pytest.fixture(scope="session")
def plugins() -> str:
    """The plugins of a server that has no others."""
    return _files("")


@pytest.fixture
def start(serve: Start) -> Start:
    """Start a server whose models can be faulty: `start(**settings)`; `plugins` are further files of this folder."""
    return lambda models=MODELS, plugins="", **settings: serve(models, plugins=_files(plugins), **settings)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The one server of a module; its `SETTINGS` go in, where it has any."""
    settings = dict(getattr(request.module, "SETTINGS", {}))
    plugins = _files(settings.pop("plugins", ""))
    running = serve_in(tmp_path_factory.mktemp("faults"), MODELS, plugins=plugins, **settings)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def gate_opened(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a held job go on when its test is over, however that ended: the module's other tests need the engine."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    yield
    if server is not None:
        open_gate(server)


def _files(more: str) -> str:
    return ":".join(str(HERE / name) for name in ("faulty.py", *more.split()))
