"""Fixtures of all tests: a system of `still` models, its client, its worker."""

from __future__ import annotations

import base64
import fcntl
import gc
import json
import logging
import os
import sys
from collections.abc import Generator, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient
from support.pgbouncer import pgbouncer, pgbouncer_url
from support.postgresql import postgres, postgres_url
from support.stores import database, open_store, postgres_store, store_address
from support.website import site
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from router.engine import encoder
from router.engine.worker import Worker
from router.jobs.database import open_database
from router.media import Decoders
from router.plugins import discovery
from router.settings import Settings
from router.system import System, assemble
from router.values import Job
from router.web import create_app

__all__ = [
    "database",
    "open_store",
    "pgbouncer",
    "pgbouncer_url",
    "postgres",
    "postgres_store",
    "postgres_url",
    "site",
    "store_address",
]
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
LIMITS = "limits: {pixels: 16384, frames: 49, steps: 60}"
MODELS = f"""
default: any
models:
  text: {{backend: still, modality: t2v, aliases: [org/text], {SMALL}, {LIMITS}}}
  image: {{backend: still, modality: i2v, {SMALL}, {LIMITS}}}
  both: {{backend: still, modality: ti2v, {SMALL}, {LIMITS}}}
  ends: {{backend: still, modality: flf2v, {SMALL}, {LIMITS}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.05}}, {SMALL}, {LIMITS}}}
  far: {{backend: still, modality: t2v, source: Some-Org/far-away, {SMALL}, {LIMITS}}}
routes:
  any: [text, image]
"""
EXPORTS = "TEST_EXPORTS"  # the folder of a test that runs others in a process of its own
MODULES = pytest.StashKey[int]()  # as many as were imported at the last freeze
AMONG_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ

gc.disable()  # until the first test: a collection finds nothing among what is imported and collected


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the storms too, and every foreign client: minutes each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run fast tests first, or last under xdist; run storms only with `--all`."""
    # of several processes, none should start with its longest file when the others have ended
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None) != AMONG_SEVERAL)
    if not config.getoption("--all"):
        storms = {item for item in items if item.get_closest_marker("storm")}
        config.hook.pytest_deselected(items=list(storms))
        items[:] = [item for item in items if item not in storms]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep the collected tests and the imported libraries out of garbage collections."""
    # each unload of a model collects, and there are hundreds: among all these objects that takes half a second
    if len(sys.modules) > item.config.stash.get(MODULES, 0) + 200:
        gc.collect()
        gc.freeze()
        gc.enable()
        item.config.stash[MODULES] = len(sys.modules)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(report: object) -> Generator[None, Any, Any]:
    """Replace what UTF-8 cannot hold, such as half a surrogate pair in a log."""
    # xdist sends a report to the first process as UTF-8
    data = yield
    return json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))


@pytest.fixture(autouse=True)
def log_handlers() -> Iterator[None]:
    """Remove the log handlers of the test's commands."""
    # they write to a stream that pytest closes after the test
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    for handler in logging.root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in handlers:
            logging.root.removeHandler(handler)
    logging.root.setLevel(level)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Restore the environment's settings after the test."""
    # a command puts its options there, for its child processes
    before = {name: value for name, value in os.environ.items() if name.startswith("FRAMEGATE_")}
    yield
    for name in [name for name in os.environ if name.startswith("FRAMEGATE_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def _installed_packages() -> Iterator[None]:
    """Read the entry points of installed packages once for each `sys.path`."""
    # each system would read them again
    read = cache(lambda group, path: entry_points(group=group))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "entry_points", lambda group: read(group, tuple(sys.path)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_routes() -> Iterator[None]:
    """Compile werkzeug's function of each route once for all apps."""
    # each app would compile 80 functions again, which takes as long as all else of a test's app and system
    compile_builder, made = Rule._compile_builder, dict[object, Any]()

    def builder(rule: Rule, append_unknown: bool = True) -> Any:
        if rule.defaults:
            return compile_builder(rule, append_unknown)
        key = rule.rule, tuple(rule._trace), append_unknown  # all that the function is made of
        if key not in made:
            made[key] = compile_builder(rule, append_unknown)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", builder)
        yield


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a store without jobs, which is made in a tenth of a second."""
    path = tmp_path_factory.mktemp("new") / "jobs.sqlite"
    open_database(path).close()
    return path.read_bytes()


@pytest.fixture
def settings(tmp_path: Path, new_store: bytes) -> Settings:
    models = tmp_path / "models.yaml"
    models.write_text(MODELS)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "jobs.sqlite").write_bytes(new_store)
    return Settings(data=tmp_path / "data", models=models, renew_seconds=0.2, lease_seconds=2.0, wait_seconds=20)


@pytest.fixture
def system(settings: Settings) -> System:
    return assemble(settings, plugins=[encoder])


@pytest.fixture(scope="session")
def decoders() -> Iterator[Decoders]:
    """Return the decoder processes of all tests."""
    # one starts in a third of a second
    decoders = Decoders()
    yield decoders
    decoders.close()


@pytest.fixture
def client(system: System, decoders: Decoders) -> FlaskClient:
    return create_app(system, decoders).test_client()


@pytest.fixture
def worker(system: System) -> Iterator[Worker]:
    """Run an engine's worker in a thread of this process."""
    engine = Worker(system, "cpu")
    thread = Thread(target=engine.run, daemon=True)
    thread.start()
    yield engine
    engine.keeper.stop()
    thread.join(10)


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the nano family with transformers of two blocks."""
    # what holds for two blocks holds for six, which take three times as long to run, compile and export
    from support.short_family import link_short_family

    return link_short_family(tmp_path_factory.mktemp("nano") / "family")


@pytest.fixture(scope="session")
def whole_family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the nano family with its trained transformers."""
    from nano.family import link_family

    folder = tmp_path_factory.mktemp("nano") / "family"
    link_family(folder)
    return folder


@pytest.fixture(scope="session")
def exports(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Return the nano models as `framegate export` writes them."""
    base = tmp_path_factory.getbasetemp()
    folder = Path(os.environ.get(EXPORTS, (base.parent if AMONG_SEVERAL else base) / "exports"))
    folder.mkdir(exist_ok=True)
    return Exports(family, folder)


class Exports:
    """Exports in fp32, each made at its first use: `exports["wan-nano-t2v"]` is a folder."""

    def __init__(self, family: Path, folder: Path) -> None:
        self.family = family
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        from plugins.onnx_backend.export.folder import Source, export

        with open(self.folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.folder / name).exists():
                source = Source(self.family / name, f"embedded:{name}", None)
                export(source, self.folder / name, "fp32", lambda *_: None)
        return self.folder / name


def png(width: int = 64, height: int = 64) -> bytes:
    """Return a PNG with colours that run from side to side."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // max(width, 1), y * 255 // max(height, 1), np.full_like(x, 128)], -1)
    return cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def with_image(text: str, *urls: str) -> list[dict[str, Any]]:
    """Return an `input` of a text and images."""
    images = [{"type": "input_image", "image_url": url} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "input_text", "text": text}]}]


def leftovers(system: System) -> list[Path]:
    """Return every input and output file on disk."""
    data = system.settings.data
    return [path for kind in ("inputs", "videos") for path in (data / kind).rglob("*") if path.is_file()]


def stored(system: System, answer: TestResponse) -> Job:
    """Return an answer's job from the store."""
    assert answer.status_code == 200, answer.get_json()
    job = system.jobs.get(answer.get_json()["id"].split("_")[1], "local")
    assert job is not None
    return job


def refused(answer: TestResponse, system: System) -> dict[str, str]:
    """Return a refusal's error; check that no job and no file is left."""
    assert answer.status_code == 400, answer.get_json()
    assert system.jobs.newest() == 0
    assert leftovers(system) == []
    return answer.get_json()["error"]
