"""Fixtures of the foreign clients: one server of their models, one image."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.programs import MODELS
from conftest import png
from support.server import Server, serve_in


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = serve_in(tmp_path_factory.mktemp("clients"), MODELS, "--plugin", str(Path(__file__).parent / "broken.py"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "cat.png"
    path.write_bytes(png(96, 64))
    return path
