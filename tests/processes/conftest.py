"""Servers of real processes: new ones for each test, and one of a newcomer for all that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Exports
from support.server import ROOT, Server, serve, serve_in

__all__ = ["graphs", "nano", "serve"]
FAMILY = ("wan-nano-t2v", "wan-nano-i2v", "wan-nano-ti2v")


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of a newcomer: the models file of the package, nothing set."""
    server = serve_in(tmp_path_factory.mktemp("nano"), (ROOT / "models.yaml").read_text())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def graphs(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose nano models, under their own names, are run by ONNX Runtime."""
    pytest.importorskip("onnxruntime")
    entries = [f"  {name}: {{source: '{exports[name]}', backend: onnxruntime, family: {name}}}" for name in FAMILY]
    server = serve_in(tmp_path_factory.mktemp("graphs"), "models:\n" + "\n".join(entries))
    yield server
    server.stop()
