"""Servers of real processes: one for each test, or one for all readers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Exports
from support.server import ROOT, Server, serve, serve_in
from support.streams import MODELS

__all__ = ["graphs", "nano", "serve"]
FAMILY = ("wan-nano-t2v", "wan-nano-i2v", "wan-nano-ti2v")


# an idle server takes 4 % of a core, so these end with the package
@pytest.fixture(scope="package")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a newcomer's server: the package's models file and no settings."""
    server = serve_in(tmp_path_factory.mktemp("nano"), (ROOT / "models.yaml").read_text())
    yield server
    server.stop()


@pytest.fixture(scope="package")
def graphs(whole_family: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server with the nano models on ONNX Runtime, under their own names."""
    pytest.importorskip("onnxruntime")
    exports = Exports(whole_family, tmp_path_factory.mktemp("exports"))
    entries = [f"  {name}: {{source: '{exports[name]}', backend: onnxruntime, family: {name}}}" for name in FAMILY]
    server = serve_in(tmp_path_factory.mktemp("graphs"), "models:\n" + "\n".join(entries))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for all stream readers of a module."""
    server = serve_in(tmp_path_factory.mktemp("streams"), MODELS, leave_seconds=0.5)
    yield server
    server.stop()
