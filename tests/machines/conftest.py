"""Fixtures of machines that share one PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machines import Machines

from router.system import System


@pytest.fixture
def machines(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    machines = Machines(tmp_path, postgres_url, monkeypatch)
    yield machines
    for system in machines.started:
        system.database.close()


@pytest.fixture
def pair(machines: Machines) -> tuple[System, System]:
    """Start two machines."""
    return machines.start("one"), machines.start("two")
