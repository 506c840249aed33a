"""`framegate doctor` on a store in PostgreSQL: each finding, and no password in any."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from support.command import runner
from support.postgresql import Postgres

from registry import Input
from router.doctor import clock, files, shared_store
from router.doctor.finding import DoctorContext, Finding, Level
from router.jobs import ClaimRequest, JobStore, open_database
from router.jobs.tables import HEAD
from router.settings import Settings
from router.values import Artifact, Job, Task


def found(url: str, data: Path) -> list[Finding]:
    return list(shared_store.check(Settings(data=data, store=url)))


def only(findings: list[Finding], level: str) -> list[str]:
    return [str(finding) for finding in findings if finding.level == level]


def test_a_store_of_this_version_is_right(postgres_url: str, tmp_path: Path) -> None:
    open_database(postgres_url).close()
    findings = found(postgres_url, tmp_path)

    assert [finding.level for finding in findings] == [Level.OK] * 7
    text = "\n".join(map(str, findings))
    for said in (
        "PostgreSQL is 1",
        "this machine's clock and the database's differ by less than 2 s",
        "2 web processes and an engine open up to 48 connections, and the server allows 197",
        "the user may create tables in the schema public",
        f"is of this version (revision {HEAD})",
        "can be written",
        "notifications arrive",
    ):
        assert said in text


def test_an_empty_database_is_right_and_stays_empty(postgres: Postgres, postgres_url: str, tmp_path: Path) -> None:
    findings = found(postgres_url, tmp_path)

    assert [finding.level for finding in findings] == [Level.OK] * 6
    assert f"is of revision none: the next start brings it to {HEAD}" in "\n".join(map(str, findings))
    name = postgres_url.rpartition("/")[2]
    assert postgres.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == [(0,)]


def test_a_store_behind_pgbouncer_is_polled(pgbouncer_url: str, tmp_path: Path) -> None:
    open_database(pgbouncer_url).close()

    (warned,) = only(found(pgbouncer_url, tmp_path), "warn")
    assert "notifications do not arrive, as behind PgBouncer in transaction mode" in warned


def test_a_user_without_rights_is_told_which(postgres: Postgres, postgres_url: str, tmp_path: Path) -> None:
    open_database(postgres_url).close()
    name = postgres_url.rpartition("/")[2]
    role = f"guest_{name}"
    postgres.psql(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", name)
    url = make_url(postgres_url).set(username=role, password="s3cret").render_as_string(hide_password=False)
    failed = only(found(url, tmp_path), "fail")
    postgres.psql(f"DROP OWNED BY {role}; DROP ROLE {role}", name)

    assert len(failed) == 2
    assert "may not create tables in the schema public, as a start does; GRANT CREATE ON SCHEMA public" in failed[0]
    assert "cannot be written: permission denied for table alembic_version" in failed[1]
    assert "s3cret" not in "".join(failed)


def test_a_server_that_does_not_answer_is_one_line_without_the_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://anna:s3cret@127.0.0.1:1/framegate?password=s3cret2&sslmode=disable"
    (failed,) = map(str, found(url, tmp_path))

    assert failed.startswith("fail  store: postgresql+psycopg://anna@127.0.0.1:1/framegate cannot be used: ")
    assert "refused" in failed
    assert "s3cret" not in failed


def test_limits_are_held_against_what_is_there() -> None:
    assert shared_store.version(14, "14.2").level == "fail"
    assert shared_store.version(15, "15.0").level == "ok"
    assert [str(shared_store.skew(seconds).level) for seconds in (-2.5, -1.5, 1.5, 2.5)] == ["warn", "ok", "ok", "warn"]
    assert "3 s ahead of the database's" in shared_store.skew(3.1).message
    assert [str(shared_store.connections(limit, 2).level) for limit in (47, 48)] == ["warn", "ok"]
    assert shared_store.rights(None, False).level == "fail"


def test_the_videos_of_a_shared_store_are_looked_for(postgres_url: str, tmp_path: Path) -> None:
    context = DoctorContext(Settings(data=tmp_path, store=postgres_url), {})
    with closing(open_database(postgres_url)) as database:
        task = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
        queue = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=9)
        queue.add(Job("a" * 32, "anna", "m", task))
        found = queue.claim("e", ClaimRequest(["m"]))
        assert found is not None
        queue.finish(found[0], Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8))
        (missing,) = files.check(context)
        assert (missing.level, missing.message.count(str(tmp_path / "videos" / ("a" * 32)))) == ("fail", 1)
    assert [finding.level for finding in clock.check(context)] == [Level.OK]


def test_the_command_shows_no_password(
    postgres: Postgres,
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = make_url(postgres_url).set(password="s3cret").render_as_string(hide_password=False)
    status, out, err = runner(monkeypatch, capsys, "doctor", store=url, data=tmp_path, plugins="")("--json")

    assert status in (0, 1)
    assert "s3cret" not in out + err
    assert any("PostgreSQL is" in finding["message"] for finding in json.loads(out)["findings"])
