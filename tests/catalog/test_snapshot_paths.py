"""The hub's client is asked once for a snapshot, and again after a change."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from router.catalog.download import Selection, Snapshots, cache_paths

REPO, FILE = "org/far", "model.safetensors"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a repository with two revisions into its own cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = cache_paths.repository(REPO)
    for commit in ("0" * 40, "1" * 40):
        part = folder / "snapshots" / commit / "transformer"
        part.mkdir(parents=True)
        (part / FILE).write_text("a")
    for below in ("refs", "blobs"):
        (folder / below).mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    return folder


class Client:
    """Counts the questions to the hub's client, and is it."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, repo: str, revision: str | None, selection: Selection) -> Path | None:
        self.asked += 1
        return cache_paths.cached(repo, revision, selection)


@pytest.fixture
def client() -> Client:
    return Client()


def test_the_client_is_asked_once(repository: Path, client: Client) -> None:
    snapshots = Snapshots(client, grain=0)
    found = {snapshots.find(REPO, None) for _ in range(100)}

    assert found == {repository / "snapshots" / ("0" * 40)}
    assert client.asked == 1
    assert snapshots.find(REPO, "1" * 40) == repository / "snapshots" / ("1" * 40)
    assert client.asked == 2


def switch(repository: Path) -> None:
    (repository / "refs" / "main").write_text("1" * 40)


def remove_a_file(repository: Path) -> None:
    (repository / "snapshots" / ("0" * 40) / "transformer" / FILE).unlink()


def remove_the_snapshot(repository: Path) -> None:
    shutil.rmtree(repository / "snapshots" / ("0" * 40))


def remove_it_all(repository: Path) -> None:
    shutil.rmtree(repository)


def add_a_part(repository: Path) -> None:
    (repository / "snapshots" / ("0" * 40) / "vae").mkdir()


def lose_a_blob(repository: Path) -> None:
    (repository / "blobs" / "abc").touch()


def list_its_files(repository: Path) -> None:
    (repository / "trees").mkdir()


CHANGES = (switch, remove_a_file, remove_the_snapshot, remove_it_all, add_a_part, lose_a_blob, list_its_files)


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_asked_again_once_something_has_changed(
    repository: Path, client: Client, change: Callable[[Path], None]
) -> None:
    snapshots = Snapshots(client, grain=0)
    snapshots.find(REPO, None)
    time.sleep(0.02)  # the file system's clock ticks
    change(repository)

    assert snapshots.find(REPO, None) == (cache_paths.cached(REPO, None) if repository.is_dir() else None)
    assert client.asked == (2 if repository.is_dir() else 1)


def test_what_is_as_young_as_the_clocks_grain_is_asked_each_time(repository: Path, client: Client) -> None:
    snapshots = Snapshots(client, grain=100)
    for _ in range(3):
        assert snapshots.find(REPO, None) is not None
    assert client.asked == 3


def test_what_is_not_here_needs_no_client(tmp_path: Path) -> None:
    code = "import sys; from router.catalog.download import Snapshots; print(Snapshots().find('org/none', None), 'huggingface_hub' in sys.modules)"
    environ = {**os.environ, "HF_HUB_CACHE": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout

    assert said.split() == ["None", "False"]
