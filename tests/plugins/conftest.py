"""What the tests of the backends share: toy checkpoints, made once, and a pool that keeps everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.driving import KeepingPool


@pytest.fixture
def pool() -> KeepingPool:
    return KeepingPool()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy checkpoints that the nano family leaves out."""
    pytest.importorskip("torch")
    from support import tiny as checkpoints

    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.make_clip_i2v(folder / "i2v-clip")
    checkpoints.make_clip_flf2v(folder / "flf2v-clip")
    checkpoints.make_ti2v(folder / "ti2v-2.2")
    return folder
