"""Digests of weight files, computed once."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from router.engine.digests import Digests


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    import hashlib

    reads: list[int] = []
    real: Callable[..., object] = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: (reads.append(1), real(*given))[1])
    return reads


def test_a_digest_is_computed_once_and_remembered_by_other_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = counted(monkeypatch)
    (tmp_path / "one").write_bytes(b"weights")
    (tmp_path / "two").write_bytes(b"weights")
    (tmp_path / "three").write_bytes(b"weighty")
    first, second = Digests(tmp_path / "digests.json"), Digests(tmp_path / "digests.json")

    assert first.of(tmp_path / "one") == first.of(tmp_path / "two") != first.of(tmp_path / "three")
    assert second.of(tmp_path / "one") == first.of(tmp_path / "one")
    assert len(reads) == 3
    (tmp_path / "one").write_bytes(b"changed")
    os.utime(tmp_path / "one", ns=(1, 1))
    assert second.of(tmp_path / "one") != first.of(tmp_path / "two")


def test_a_file_of_digests_that_is_broken_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_text("{")
    (tmp_path / "one").write_bytes(b"weights")

    found = Digests(tmp_path / "digests.json").of(tmp_path / "one")

    assert json.loads((tmp_path / "digests.json").read_text())[str(tmp_path / "one")][1] == found


def test_the_name_in_the_hubs_cache_is_believed(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"weights")

    assert Digests().of(blob) == "ab" * 32


def test_a_digest_that_cannot_be_kept_fails_no_load(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    (tmp_path / "digests.json").mkdir()  # as little writable as a file of a full disk

    found = Digests(tmp_path / "digests.json").of(tmp_path / "weights")

    assert found == hashlib.sha256(b"1").hexdigest()


def test_a_file_that_was_replaced_by_one_of_its_size_and_time_has_another_digest(tmp_path: Path) -> None:
    path, digests = tmp_path / "a.safetensors", Digests(tmp_path / "digests.json")
    found = []
    for content in (b"one", b"two"):
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
        found.append((digests.of(path), Digests(tmp_path / "digests.json").of(path)))

    assert found[0][0] == found[0][1] != found[1][0] == found[1][1]
