"""Files that are written whole: under any number of writers, or not at all."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from router.runtime.files import create_file, write_file


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_file_is_replaced_whole_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "file"

    assert write_file(path, b"first") == path
    assert write_file(path, b"second", root=tmp_path) == path
    assert path.read_bytes() == b"second"
    assert modes(tmp_path) == {"file": 0o600}


def test_a_file_has_the_permissions_of_its_mode(tmp_path: Path) -> None:
    write_file(tmp_path / "shared", b"", mode=0o640)
    write_file(tmp_path / "durable", b"", mode=0o640, root=tmp_path)

    assert modes(tmp_path) == {"shared": 0o640, "durable": 0o640}


def test_a_file_that_cannot_be_renamed_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(OSError, match="folder"):
        write_file(tmp_path / "folder", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_of_several_who_create_a_file_one_is_first(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: create_file(path, data), [bytes([n]) * 32 for n in range(8)]))
        first = path.read_bytes()
        create_file(path, b"late")

    assert first in {bytes([n]) * 32 for n in range(8)}
    assert path.read_bytes() == first
    assert modes(tmp_path) == {"secret": 0o600}
