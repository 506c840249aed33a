"""Commands on a store in PostgreSQL: they name it, and never its password."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import make_url
from support.command import Run, runner
from support.postgresql import Postgres
from support.server import Server, serve

from router.auth.keys import Scope, new_key, new_text
from router.errors import BootError
from router.jobs import ApiKeyStore, open_database
from router.jobs.facts import LINKS_SECRET
from router.jobs.store_move import move_store
from router.jobs.tables import facts
from router.runtime import variables
from router.runtime.store_url import without_secrets
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

__all__ = ["serve"]
PASSWORD = "s3cret"
RunOn = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(postgres_url: str) -> str:
    """Return the address of a fresh database, with a password."""
    return make_url(postgres_url).set(password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunOn:
    """Return a function for commands, which must not print the password."""

    def run(*words: str, store: str = "") -> tuple[int, str, str]:
        command: Run = runner(monkeypatch, capsys, data=settings.data, models=settings.models, plugins="", store=store)
        status, out, err = command(*words)
        assert PASSWORD not in out + err
        return status, out, err

    return run


def add(system: System, number: int) -> None:
    client = create_app(system).test_client()
    for n in range(number):
        assert (
            client.post("/v1/responses", json={"model": "text", "input": f"{n}", "background": True}).status_code == 200
        )


def test_a_store_moves_and_its_servers_answer_503(run: RunOn, system: System, settings: Settings, url: str) -> None:
    add(system, 3)
    (settings.data / LINKS_SECRET).write_bytes(b"0" * 32)
    status, out, err = run("store", "migrate", store=url)

    name = without_secrets(url)
    assert (status, err) == (0, "")
    assert "jobs               3\n" in out
    assert f"{settings.data / 'jobs.sqlite'} is moved to {name}\n" in out
    assert f"next: set FRAMEGATE_STORE to {name}, with its password" in out
    client = create_app(system).test_client()
    refused = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "store_unavailable")
    assert client.get("/readyz").status_code == 503
    with pytest.raises(BootError, match="was moved to postgresql"):
        assemble(settings)
    with closing(open_database(url)) as database:
        assert [row["value"] for row in database.rows(select(facts.c.value).where(facts.c.name == LINKS_SECRET))] == [
            "30" * 32
        ]


def test_a_moved_store_can_be_reopened(run: RunOn, system: System, settings: Settings, url: str) -> None:
    add(system, 1)
    run("store", "migrate", "--to", url)
    assert f"framegate: {settings.data / 'jobs.sqlite'} was moved to" in run("keys", "list")[2]

    assert run("store", "reopen") == (0, f"{settings.data / 'jobs.sqlite'} is in use again\n", "")
    assert run("store", "reopen")[2] == f"framegate: {settings.data / 'jobs.sqlite'} was not moved\n"
    add(system, 1)


def test_reopening_where_no_store_is_makes_none(run: RunOn, tmp_path: Path) -> None:
    store = tmp_path / "none.sqlite"

    assert f"{store} cannot be opened: unable to open" in run("store", "reopen", f"sqlite:///{store}")[2]
    assert not store.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "mysql://u:s3cret@h/d"), "must be postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, got 'mysql://...@h/d'"),
        (("--to", "postgresql://u:s3cret/x@h/d"), "got 'postgresql://...@h/d', or sqlite:///PATH"),
        (("--to", "sqlite://x"), "got 'sqlite://x', or sqlite:///PATH"),
        (("--from", "sqlite:////nowhere/s3.sqlite", "--to", "postgresql://u:s3cret@127.0.0.1:1/d"), "there is no job store /nowhere"),
        (("--to", "postgresql://u:s3cret@127.0.0.1:1/d?sslpassword=s3cret"), "postgresql+psycopg://u@127.0.0.1:1/d cannot be opened"),
        (("--to", "postgresql://u:s3cret@127.0.0.1:99999/d"), "framegate: "),
        (("--to", "postgresql://u:s3cret@127.0.0.1:1/d?nonsense=s3cret"), "postgresql+psycopg://u@127.0.0.1:1/d cannot be opened"),
        (("--to", "sqlite:////tmp/another.name"), "must be called jobs.sqlite, got /tmp/another.name"),
        ((), "the new store must be given: --to or FRAMEGATE_STORE"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_moved_is_one_line_and_stays_in_use(
    run: RunOn, system: System, words: tuple[str, ...], said: str
) -> None:
    add(system, 1)
    status, out, err = run("store", "migrate", *words)

    assert (status != 0, out) == (True, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    add(system, 1)


def test_a_backup_of_a_shared_store_can_be_restored(
    run: RunOn, settings: Settings, url: str, postgres: Postgres, tmp_path: Path
) -> None:
    shared = assemble(Settings(data=settings.data, models=settings.models, store=url))
    add(shared, 3)
    ApiKeyStore(shared.database).add(new_key(new_text(), "ci", "anna", [Scope.READ]))
    with shared.database.write() as db:
        db.execute(insert(facts).values(name=LINKS_SECRET, value="00ff"))
    status, out, err = run("store", "backup", str(tmp_path / "a.sqlite"), store=url)

    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'a.sqlite'}: 3 jobs and 1 keys, ")
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []
    assert (tmp_path / "a.sqlite").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert shared.database.problem() is None  # it is in use

    with postgres.fresh() as restored:
        assert move_store(tmp_path / "a.sqlite", restored, keep=True)["jobs"] == 3
        with closing(open_database(restored)) as database:
            assert database.rows(select(facts.c.value).where(facts.c.name == LINKS_SECRET))[0]["value"] == "00ff"
            assert [key.name for key in ApiKeyStore(database).all()] == ["ci"]


def test_commands_name_the_store_and_not_the_data_folder(run: RunOn, url: str) -> None:
    name = without_secrets(url)

    assert f"in {name}. It is not shown again" in run("keys", "create", "ci", store=url)[2]
    assert f"no key is called cd in {name}; " in " ".join(run("keys", "revoke", "cd", store=url)[2].split())
    assert f"note: no key in {name} is of owner bo" in run("owners", "limits", "bo", "--cost", "2/day", store=url)[2]
    assert f"no owner is called 'cy' in {name}; there are" in run("usage", "--owner", "cy", store=url)[2]
    assert f"note: no engine runs on {name}; " in run("reload", store=url)[1]
    assert "ci" in run("owners", "list", store=url)[1]
    assert "ci" in run("keys", "list", store=url)[1]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgres://u:p%40s@h:5/d?password=x&sslmode=require&options=-cx", "postgresql+psycopg://u@h:5/d"),
        ("postgresql://:p@/d?host=/run/postgresql", "postgresql+psycopg://@/d?host=/run/postgresql"),
        ("postgresql+psycopg://[::1]:5432/d", "postgresql+psycopg://[::1]:5432/d"),
    ],
)
def test_the_name_of_a_store_has_no_secret(given: str, shown: str) -> None:
    assert without_secrets(variables.store(given)) == shown


@pytest.mark.parametrize(
    "given",
    ["postgresql://u:p@s@h/d", "postgresql://u:p@h:x/d", "postgresql://u:p#@h/d", "u:p@h", "postgresql://u:p@h/d\n"],
)
def test_a_url_that_would_be_taken_apart_wrongly_is_refused_without_its_password(given: str) -> None:
    with pytest.raises(ValueError, match=r"got '.*\.\.\.@h") as refused:
        variables.store(given)

    assert ":p" not in str(refused.value)


def test_settings_that_are_shown_have_no_secret() -> None:
    assert "s3cret" not in repr(Settings(store="postgresql+psycopg://u:s3cret@h/d", metrics_key="s3cret"))


@pytest.mark.slow
def test_a_live_installation_moves_with_its_jobs_and_links(serve: Callable[..., Server], run: RunOn, url: str) -> None:
    small = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 100}"
    models = (
        f"models: {{m: {{backend: still, modality: t2v, {small}}}, "
        f"slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {small}}}}}"
    )
    server = serve(models, workers=1, no_auth=0)
    key = open_key(server.data / "jobs.sqlite")
    server.until(lambda: server.call("/v1/models")[0] == 401)
    sent = {"authorization": f"Bearer {key}"}
    made = server.call("/v1/responses", {"model": "m", "input": "a"}, headers=sent)[1]
    link = made["output"][0]["content"][0]["video_url"]
    running = server.call("/v1/responses", {"model": "slow", "input": "b", "background": True}, headers=sent)[1]

    def state() -> dict[str, object]:
        return dict(server.call(f"/v1/responses/{running['id']}", headers=sent)[1])

    server.until(lambda: state()["status"] == "in_progress")
    source = f"sqlite:///{server.data / 'jobs.sqlite'}"
    assert run("store", "migrate", "--from", source, "--to", url)[0] == 0

    refused = server.call("/v1/responses", {"model": "m", "input": "c", "background": True}, headers=sent)
    assert (refused[0], refused[1]["error"]["code"]) == (503, "store_unavailable")
    assert server.until(lambda: server.call("/readyz")[0] == 503)
    assert PASSWORD not in server.log.read_text()
    assert server.stop() < 30

    moved = serve(models, workers=1, no_auth=0, store=url)
    assert moved.fetch(link)
    server = moved
    assert moved.until(lambda: state()["status"] == "completed")
    assert PASSWORD not in moved.log.read_text()


def open_key(store: Path) -> str:
    """Add a key to a store and return its text."""
    text = new_text()
    with closing(open_database(store)) as database:
        ApiKeyStore(database).add(new_key(text, "ci", "anna", [Scope.GENERATE, Scope.READ]))
    return text
