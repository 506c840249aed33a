"""What the tests of the backends share: toy checkpoints, made once, and a pool that keeps everything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import pytest


class KeepingPool:
    """A pool of parts by their keys, which never lets go."""

    def __init__(self) -> None:
        self.parts: dict[Hashable, Any] = {}

    def part(self, key: Hashable, load: Callable[[], Any], tier: object = None) -> Any:
        if key not in self.parts:
            self.parts[key] = load()
        return self.parts[key]

    def private(self, load: Callable[[], Any]) -> Any:
        return load()

    def reserve(self, sizes: Mapping[Hashable, int]) -> None:
        self.reserved = dict(sizes)

    def digest(self, path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def pool() -> KeepingPool:
    return KeepingPool()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy checkpoints that the nano family leaves out."""
    pytest.importorskip("torch")
    import tiny as checkpoints

    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.make_clip_i2v(folder / "i2v-clip")
    checkpoints.make_clip_flf2v(folder / "flf2v-clip")
    checkpoints.make_ti2v(folder / "ti2v-2.2")
    return folder
