"""A damaged store: commands name it in one line, servers answer with 503."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from support.command import Run, runner
from support.jobs import ask, completed, framegate
from support.server import Server, free_port, serve_in

pytestmark = pytest.mark.slow
PAGE = 4096
COMMANDS = (
    ("serve", "--port", "{port}", "--device", "cpu"),
    ("web", "--port", "{port}"),
    ("engine", "--device", "cpu"),
    ("keys", "list"),
    ("keys", "create", "somebody"),
    ("models",),
    ("reload",),
    ("generate", "a cat", "--model", "good", "--url", "embedded", "-o", "{folder}/a.mp4"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, models: str, plugins: str) -> Path:
    """Return the folder of a stopped server with one video."""
    folder = tmp_path_factory.mktemp("damaged")
    running = serve_in(folder, models, plugins=plugins)
    for _ in range(30):
        done = ask(running, "good", "a long prompt " * 100)
    assert completed(running, done)
    running.stop()
    with closing(sqlite3.connect(folder / "data" / "jobs.sqlite")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def pages(path: Path) -> None:
    """Overwrite all pages but the first, where the schema begins."""
    content = bytearray(path.read_bytes())
    content[PAGE:] = bytes(b ^ 0x5A for b in content[PAGE:])
    path.write_bytes(content)


def tables(path: Path) -> None:
    """Overwrite the pages of all tables, and leave the schema."""
    with closing(sqlite3.connect(path)) as db:
        found = [row[0] for row in db.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name != 'alembic_version'")]
    content = bytearray(path.read_bytes())
    for page in filter(None, found):
        content[(page - 1) * PAGE : page * PAGE] = b"\x5a" * PAGE
    path.write_bytes(content)


def schema(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:PAGE] = b"\x5a" * (PAGE - 100)
    path.write_bytes(content)


def future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.execute("UPDATE facts SET value = '9999' WHERE name = 'least_revision'")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "its pages": pages,
    "its tables": tables,
    "its schema": schema,
    "no database": lambda path: path.write_bytes(b"this is no database " * 1000),
    "cut": lambda path: os.truncate(path, 3 * PAGE + 17),
    "empty": lambda path: os.truncate(path, 0),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "of the future": future,
}


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder."""
    shutil.copytree(folder / "data", tmp_path / "data")
    shutil.copy(folder / "models.yaml", tmp_path)
    return tmp_path


@pytest.fixture(params=DAMAGE.values(), ids=DAMAGE)
def damaged(request: pytest.FixtureRequest, copied: Path) -> Path:
    """Return a copy of the folder with a damaged store."""
    request.param(copied / "data" / "jobs.sqlite")
    return copied


@pytest.fixture
def command(damaged: Path, plugins: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `framegate` here, and never starts processes."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("it began to serve")

    monkeypatch.setattr("os.execv", refuse)
    monkeypatch.setattr("router.cli.processes.Supervisor.run", refuse)
    return runner(monkeypatch, capsys, data=damaged / "data", models=damaged / "models.yaml", plugins=plugins)


def test_a_damaged_store_is_said_in_one_line_by_every_command(damaged: Path, command: Run) -> None:
    before = sorted(path for path in (damaged / "data").rglob("*.mp4"))
    for words in COMMANDS:
        status, output, error = command(*(word.format(port=free_port(), folder=damaged) for word in words))
        assert status != 0, (words, output)
        require_line(words, error)

    assert sorted(path for path in (damaged / "data").rglob("*.mp4")) == before


def require_line(words: tuple[str, ...], error: str) -> None:
    """Fail unless the messages of a command are one line about the store."""
    lines = error.splitlines()
    assert len(lines) == 1 or (words[0] == "generate" and len(lines) == 2), (words, error)  # with a line of the log
    line = lines[-1]
    assert line.startswith("framegate: "), (words, error)
    assert "jobs.sqlite" in line or "store" in line, (words, error)
    assert words[0] == "generate" or "framegate doctor" in line or "another store" in line, (words, error)


@pytest.mark.parametrize("words", COMMANDS[:3], ids=lambda words: words[0])
def test_processes_end_at_a_damaged_store(copied: Path, plugins: str, words: tuple[str, ...]) -> None:
    tables(copied / "data" / "jobs.sqlite")
    ended = framegate(copied, *(word.format(port=free_port()) for word in words), plugins=plugins)

    assert ended.returncode != 0, ended.stdout
    require_line(words, ended.stderr)


def test_the_doctor_says_what_to_do_with_a_damaged_store(command: Run) -> None:
    status, output, _ = command("doctor")

    assert status == 1
    assert [line for line in output.splitlines() if line.startswith("fail  store: ")]


def test_nonsense_in_the_log_of_the_store_is_left_out(copied: Path, plugins: str) -> None:
    """Keep the store's jobs beside a write-ahead log of random bytes."""
    (copied / "data" / "jobs.sqlite-wal").write_bytes(os.urandom(5 * PAGE))
    (copied / "data" / "jobs.sqlite-shm").write_bytes(os.urandom(8 * PAGE))
    running = serve_in(copied, (copied / "models.yaml").read_text(), plugins=plugins)
    listed = running.call("/v1/videos?limit=100")[1]["data"]
    assert completed(running, ask(running, "good"))
    running.stop()

    assert len(listed) == 30


def test_a_store_that_is_damaged_while_it_serves(tmp_path: Path, models: str, plugins: str) -> None:
    """Answer 503, log each refusal without a traceback, and recover from a copy."""
    running = serve_in(tmp_path, models, plugins=plugins)
    done = ask(running, "good")
    assert completed(running, done)
    path = running.data / "jobs.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    overwrite(path, _damaged(path, whole))
    status, answer = _until_unavailable(running, done["id"])
    ready = running.until(lambda: found if (found := running.call("/readyz"))[0] == 503 else None)
    running.call("/v1/responses", {"model": "good", "input": "a", "background": True})

    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    assert str(running.data) not in answer["error"]["message"]
    assert ready[0] == 503
    assert ready[1]["status"] == "store unavailable"
    assert running.call("/healthz")[0] == 200
    log = running.log.read_text()
    assert "the store or its disk cannot be used: database disk image is malformed" in log
    assert "Traceback" not in log
    running.stop()


def _damaged(path: Path, whole: bytes) -> bytes:
    with closing(sqlite3.connect(path)) as db:
        found = [row[0] for row in db.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]
    content = bytearray(whole)
    for page in found:
        content[(page - 1) * PAGE : page * PAGE] = b"\x5a" * PAGE
    return bytes(content)


def overwrite(path: Path, content: bytes) -> None:
    """Overwrite a file in place, as bit rot does."""
    with open(path, "r+b") as file:
        file.write(content)


def _until_unavailable(server: Server, job: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Ask until SQLite reads its pages from the file again."""

    def answer() -> tuple[int, dict[str, dict[str, str]]] | None:
        found = server.call("/v1/videos")
        return found if found[0] == 503 else None

    found: tuple[int, dict[str, dict[str, str]]] = server.until(answer)
    return found
