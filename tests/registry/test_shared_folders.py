"""Folders of models as machines without them see them."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.tools.layout import A14B, CLIP_I2V, FLF2V, I2V, T2V, TI2V, Kind, write_model
from registry import folders
from registry.folders import FolderError, ModelFolder
from registry.shared_folders import OTHER, SharedFolders, traits_of

LARGE = replace(A14B, heads=40, head_dim=128, layers=1)
SOURCE = "./weights"
ABSENT = FolderError("it is not there", Path("weights"), missing=True)
DAMAGED = FolderError("a file is damaged", Path("weights"))


@pytest.mark.parametrize("kind", [T2V, A14B, I2V, CLIP_I2V, FLF2V, TI2V, LARGE])
def test_the_traits_of_a_folder_say_what_it_is(tmp_path: Path, kind: Kind) -> None:
    folder = folders.read(write_model(tmp_path / "m", kind))
    seen = SharedFolders({SOURCE: traits_of(folder)}).read(SOURCE, None, Path("elsewhere"), False).folder

    assert isinstance(seen, ModelFolder)
    assert (seen.modalities, seen.family, seen.experts) == (folder.modalities, folder.family, folder.experts)
    assert traits_of(seen) == traits_of(folder)


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    return folders.read(write_model(tmp_path / "m"))


def read(
    here: ModelFolder | FolderError | None,
    known: ModelFolder | None = None,
    *,
    local: bool = False,
    named: bool = False,
) -> object:
    shared = SharedFolders({SOURCE: traits_of(known)} if known else {}, prefer_local=local)
    reading = shared.read(SOURCE, here, Path("weights"), named)
    found = reading.folder
    return (found.reason if isinstance(found, FolderError) else found and found.experts), reading.lack


def test_a_folder_that_only_other_machines_can_read_is_lacking_here(model: ModelFolder) -> None:
    assert read(ABSENT, model) == (1, ABSENT.reason)
    assert read(DAMAGED, model) == (1, DAMAGED.reason)
    assert read(None, model) == (1, None)  # its files may still arrive
    assert read(model, model) == (1, None)


def test_a_folder_that_no_machine_has_read_is_judged_by_what_is_here(model: ModelFolder) -> None:
    assert read(ABSENT) == (ABSENT.reason, None)
    assert read(DAMAGED, named=True) == (DAMAGED.reason, None)
    assert read(ABSENT, named=True) == (None, ABSENT.reason)
    assert read(model) == (1, None)


def test_the_published_folder_counts_except_where_it_is_published(tmp_path: Path, model: ModelFolder) -> None:
    other = folders.read(write_model(tmp_path / "other", A14B))

    assert read(other, model) == (1, OTHER)
    assert read(other, model, local=True) == (2, None)
    assert read(ABSENT, model, local=True) == (1, ABSENT.reason)
