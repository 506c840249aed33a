"""The artifact store: what is made beside a result."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from router.storage.artifacts import ArtifactStore

JOB = "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture
def output(store: ArtifactStore) -> Path:
    path = store.publish(store.part(JOB, 1, ".mp4"))
    path.write_bytes(b"a video")
    return path


def test_what_stands_beside_a_result_is_made_once_and_goes_with_the_job(store: ArtifactStore, output: Path) -> None:
    path = store.derived_file(output, ".thumbnail.webp", lambda: b"small")

    assert store.derived_file(output, ".thumbnail.webp", lambda: b"again") == path == output.parent / "1.thumbnail.webp"
    assert path.read_bytes() == b"small"
    store.delete(JOB)
    assert not path.exists()


def test_processes_that_make_the_same_at_once_do_not_disturb_each_other(tmp_path: Path, output: Path) -> None:
    together = Barrier(8)

    def make() -> bytes:
        together.wait(10)
        return b"x" * 2**20

    with ThreadPoolExecutor(8) as pool:
        paths = {pool.submit(ArtifactStore(tmp_path).derived_file, output, ".webp", make) for _ in range(8)}

    assert {path.result().stat().st_size for path in paths} == {2**20}
    assert sorted(path.name for path in output.parent.iterdir()) == ["1.mp4", "1.webp"]


def test_what_many_ask_for_at_once_is_made_once(store: ArtifactStore, output: Path) -> None:
    made = []
    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(store.derived_file, output, ".webp", lambda: time.sleep(0.05) or made.append(1) or b"small")

    assert len(made) <= 2


def test_a_job_that_is_deleted_meanwhile_gets_no_folder_again(store: ArtifactStore, output: Path) -> None:
    def make() -> bytes:
        store.delete(JOB)
        return b"small"

    with pytest.raises(FileNotFoundError):
        store.derived_file(output, ".webp", make)
    assert not output.parent.exists()


def test_what_cannot_be_made_leaves_nothing(store: ArtifactStore, output: Path) -> None:
    def make() -> bytes:
        raise ValueError("no frame")

    with pytest.raises(ValueError, match="no frame"):
        store.derived_file(output, ".webp", make)
    assert [path.name for path in output.parent.iterdir()] == ["1.mp4"]


def test_an_attempt_leaves_nothing_of_those_before_it(store: ArtifactStore, output: Path) -> None:
    store.derived_file(output, ".thumbnail.webp", lambda: b"small")
    later = store.part(JOB, 3, ".mp4")
    store.part(JOB, 2, ".mp4")

    assert sorted(path.name for path in output.parent.iterdir()) == ["2.part.mp4", later.name]


def test_what_a_killed_engine_left_of_a_preview_goes_with_it(store: ArtifactStore, tmp_path: Path) -> None:
    store.put_preview(JOB, b"a")
    (tmp_path / "previews" / f"{JOB}.1.part").write_bytes(b"of a killed engine")
    store.drop_preview(JOB)

    assert list((tmp_path / "previews").iterdir()) == []
