"""Fixtures of the backends' tests: toy checkpoints, and a pool without eviction."""

from pathlib import Path

import pytest
from support.driving import KeepingPool


@pytest.fixture
def pool() -> KeepingPool:
    return KeepingPool()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the toy checkpoints beyond the nano family."""
    pytest.importorskip("torch")
    from support import tiny as checkpoints

    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.make_clip_i2v(folder / "i2v-clip")
    checkpoints.make_clip_flf2v(folder / "flf2v-clip")
    checkpoints.make_ti2v(folder / "ti2v-2.2")
    return folder
