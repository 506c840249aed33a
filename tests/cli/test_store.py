"""`framegate store backup`: a whole copy of the store, or none, and its way back."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from support.command import Run, runner
from support.disks import disk, read_only
from support.server import Server, serve

from router.jobs import open_database
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

__all__ = ["serve"]
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 2}"


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys, "store", "backup", data=settings.data, models=settings.models, plugins="")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of backups; it must have whole files only after the test."""
    path = tmp_path / "backups"
    path.mkdir()
    yield path
    assert [name for name in os.listdir(path) if name.endswith(".part")] == []


def add(system: System, number: int) -> None:
    client = create_app(system).test_client()
    for n in range(number):
        client.post("/v1/responses", json={"model": "text", "input": f"{n}", "background": True})


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(db.execute("SELECT count(*) FROM jobs").fetchone()[0])


def test_a_backup_is_one_private_file_with_all_jobs(run: Run, system: System, folder: Path) -> None:
    add(system, 3)
    status, out, err = run(str(folder / "a.sqlite"))

    assert (status, err) == (0, "")
    assert out.startswith(f"{folder / 'a.sqlite'}: 3 jobs and 0 keys, ")
    assert f"and the models file, {system.settings.models}" in out
    assert os.listdir(folder) == ["a.sqlite"]
    assert stat.S_IMODE((folder / "a.sqlite").stat().st_mode) == 0o600
    assert rows(folder / "a.sqlite") == 3


def test_it_names_what_else_belongs_to_a_backup(run: Run, settings: Settings, folder: Path) -> None:
    for name in ("inputs", "videos", "devices"):
        (settings.data / name).mkdir()
    (settings.data / "links.secret").write_text("secret")
    out = run(str(folder / "a.sqlite"))[1]

    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("  ")] == [
        "  links.secret", "  inputs", "  videos",
    ]  # fmt: skip


def test_a_backup_of_a_store_in_use_is_consistent(run: Run, system: System, folder: Path) -> None:
    """Each transaction adds a pair of keys; no backup has half of one."""
    ended = Event()

    def write() -> None:
        database = open_database(system.settings.data / "jobs.sqlite")
        number = 0
        while not ended.is_set():
            with database.write(durable=False) as db:
                for name in (f"{number}a", f"{number}b"):
                    db.exec_driver_sql(
                        "INSERT INTO keys (owner, key, request, job, created_at) VALUES ('o', ?, 'r', 'j', 0)", (name,)
                    )
            number += 1

    writer = Thread(target=write)
    writer.start()
    counts = []
    for number in range(10):
        assert run(str(folder / f"{number}.sqlite"))[0] == 0
        with closing(sqlite3.connect(folder / f"{number}.sqlite")) as db:
            counts.append(db.execute("SELECT count(*) FROM keys").fetchone()[0])
    ended.set()
    writer.join()

    assert counts == sorted(counts)
    assert [count % 2 for count in counts] == [0] * 10
    assert counts[-1] > counts[0]


def test_an_older_backup_stays_unless_forced(run: Run, system: System, folder: Path) -> None:
    path = folder / "a.sqlite"
    path.write_text("precious")
    refused = run(str(path))

    assert refused == (1, "", f"framegate: {path} is there already: choose another name, or replace it with --force\n")
    assert path.read_text() == "precious"
    assert run(str(path), "--force")[0] == 0
    assert rows(path) == 0


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["plain", "forced"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/a.sqlite", "a backup needs a folder that is there, got"),
        ("", "which is something else"),
        ("fifo", "which is something else"),
        ("file/a.sqlite", "a backup needs a folder that is there, got"),
        ("../data/jobs.sqlite", "which is the store"),
        ("../data/jobs.sqlite-wal", "which is the store"),
        ("loop", ""),
        ("a" * 300, "File name too long"),
    ],
)
def test_a_name_that_cannot_be_a_backup_is_refused(
    run: Run, folder: Path, name: str, message: str, force: tuple[str, ...]
) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "file").write_text("")
    (folder / "loop").symlink_to(folder / "loop")
    before = sorted(os.listdir(folder))
    status, out, err = run(str(folder / name), *force)

    assert (status, out) == (1, "")
    assert err.startswith("framegate: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(os.listdir(folder)) == before


def damage(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096 * 8)


def of_another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (n)")


@pytest.mark.parametrize(
    ("break_store", "message"),
    [
        (Path.unlink, "there is no job store"),
        (lambda path: (path.unlink(), path.mkdir()), "there is no job store"),
        (lambda path: path.write_text("no database" * 500), "cannot be copied: file is not a database"),
        (lambda path: path.write_text(""), "is no job store: it needs the table jobs, got none"),
        (of_another, "is no job store: it needs the table jobs, got mine"),
        (damage, "cannot be copied: "),
    ],
    ids=["none", "folder", "text", "empty", "another", "damaged"],
)
def test_a_store_that_cannot_be_copied_leaves_no_file(
    run: Run, settings: Settings, folder: Path, break_store: Callable[[Path], object], message: str
) -> None:
    break_store(settings.data / "jobs.sqlite")
    status, out, err = run(str(folder / "a.sqlite"))

    assert (status, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert os.listdir(folder) == []


def test_a_data_folder_that_is_not_there_is_not_made(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(monkeypatch, capsys, "store", "backup", data=tmp_path / "absent", plugins="")

    assert "--data names another" in run(str(folder / "a.sqlite"))[2]
    assert not (tmp_path / "absent").exists()


def test_a_full_disk_leaves_no_file_and_says_what_is_needed(run: Run, system: System, tmp_path: Path) -> None:
    add(system, 20)
    with disk(tmp_path / "small", "64k") as small:
        (small / "old.sqlite").write_text("precious")
        status, out, err = run(str(small / "old.sqlite"), "--force")

        assert (status, out) == (1, "")
        assert "the disk is full: the store takes" in err
        assert (small / "old.sqlite").read_text() == "precious"
        assert os.listdir(small) == ["old.sqlite"]


def test_a_read_only_folder_is_one_line(run: Run, folder: Path) -> None:
    with read_only(folder):
        status, _, err = run(str(folder / "a.sqlite"))

    assert (status, err) == (1, f"framegate: {folder / 'a.sqlite'} cannot be written: Read-only file system\n")


@pytest.mark.slow
def test_a_restored_server_has_its_jobs_videos_and_keys(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = f"models: {{m: {{backend: still, modality: t2v, {SMALL}}}}}"
    server = serve(models, workers=1)
    made = server.call("/v1/responses", {"model": "m", "input": "a"})[1]
    video = server.fetch(made["output"][0]["content"][0]["video_url"])
    run = runner(monkeypatch, capsys, "store", "backup", data=server.data, plugins="")
    assert run(str(tmp_path / "a.sqlite"))[0] == 0
    shutil.copytree(server.data / "videos", tmp_path / "videos")
    server.call(f"/v1/responses/{made['id']}", method="DELETE")
    server.call("/v1/responses", {"model": "m", "input": "later"})
    server.stop()

    for name in ("jobs.sqlite-wal", "jobs.sqlite-shm"):
        (server.data / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "a.sqlite", server.data / "jobs.sqlite")
    shutil.copytree(tmp_path / "videos", server.data / "videos", dirs_exist_ok=True)
    server = serve(models, workers=1)

    assert server.call(f"/v1/responses/{made['id']}")[1]["status"] == "completed"
    assert server.fetch(made["output"][0]["content"][0]["video_url"]) == video
    assert [each["id"] for each in server.call("/v1/videos")[1]["data"]] == [made["id"].replace("resp", "video")]
    assert server.call("/v1/responses", {"model": "m", "input": "new"})[1]["status"] == "completed"


def test_a_backup_opens_as_a_store(run: Run, system: System, settings: Settings, folder: Path) -> None:
    add(system, 2)
    (folder / "data").mkdir()
    run(str(folder / "data" / "jobs.sqlite"))
    again = assemble(Settings(data=folder / "data", models=settings.models))

    assert sum(again.jobs.counts().values()) == 2
