"""Servers of real processes: new ones for each test, and one of a newcomer for all that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server import ROOT, Server, serve, serve_in

__all__ = ["nano", "serve"]


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of a newcomer: the models file of the package, nothing set."""
    server = serve_in(tmp_path_factory.mktemp("nano"), (ROOT / "models.yaml").read_text())
    yield server
    server.stop()
