"""Servers with a faulty backend: one for each test, or one for a module."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import MODELS as STILL
from support.jobs import open_gate
from support.link import Link, link_to
from support.server import Server, serve, serve_in

from router.engine import encoder
from router.jobs import JobStore
from router.settings import Settings
from router.system import System, assemble

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
    """Return the models of every server in this folder."""
    return MODELS


@pytest.fixture(scope="session")
def plugins() -> str:
    """Return the plugins of a server without further ones."""
    return _files("")


@pytest.fixture
def start(serve: Start) -> Start:
    """Return a function that starts a server: `start(plugins="deaf.py", **settings)`."""
    return lambda models=MODELS, plugins="", **settings: serve(models, plugins=_files(plugins), **settings)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module's tests once for each of its `STORES`."""
    stores = getattr(metafunc.module, "STORES", ())
    if stores and "server" in metafunc.fixturenames:
        metafunc.parametrize("server", stores, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for a module, with the module's `SETTINGS`."""
    settings = dict(getattr(request.module, "SETTINGS", {}))
    if getattr(request, "param", "") == "postgresql":
        settings["store"] = request.getfixturevalue("postgres").create(f"faults_{uuid.uuid4().hex}")
    plugins = _files(settings.pop("plugins", ""))
    running = serve_in(tmp_path_factory.mktemp("faults"), MODELS, plugins=plugins, **settings)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def gate_opened(request: pytest.FixtureRequest) -> Iterator[None]:
    """Open the module server's gate after each test."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    yield
    if server is not None:
        open_gate(server)


@pytest.fixture
def link(postgres_url: str) -> Iterator[tuple[Link, str]]:
    with link_to(postgres_url) as opened:
        yield opened


@pytest.fixture
def build(tmp_path: Path, link: tuple[Link, str]) -> Callable[..., System]:
    """Build a machine's system whose store is behind the link."""
    (tmp_path / "models.yaml").write_text(STILL)
    settings = Settings(
        data=tmp_path / "data",
        models=tmp_path / "models.yaml",
        store=link[1],
        lease_seconds=2.0,
        renew_seconds=0.2,
    )
    return lambda *plugins, **changes: assemble(replace(settings, **changes), plugins=[encoder, *plugins])


@pytest.fixture
def seen(build: Callable[..., System], postgres_url: str) -> JobStore:
    """Return the store as another machine sees it."""
    return build(store=postgres_url).jobs


def _files(more: str) -> str:
    return ":".join(str(HERE / name) for name in ("faulty.py", *more.split()))
