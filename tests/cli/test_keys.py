"""`framegate keys`, on the command line."""

from pathlib import Path

import pytest
from support.command import Run, runner

from router.auth.keys import TEXT, KeyLimits
from router.jobs import ApiKeyStore, open_database


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate keys ...` in this process; return its status, output and messages."""
    missing = tmp_path / "missing.yaml"  # keys are revoked whatever the models are
    return runner(monkeypatch, capsys, "keys", models=missing, data=tmp_path / "data", plugins="")


@pytest.fixture
def store(tmp_path: Path) -> ApiKeyStore:
    return ApiKeyStore(open_database(tmp_path / "data" / "jobs.sqlite"))


def test_create_prints_the_key_and_nothing_else_to_standard_output(
    run: Run, store: ApiKeyStore, tmp_path: Path
) -> None:
    status, out, err = run("create", "ci")
    (key,) = store.all()

    assert (status, bool(TEXT.fullmatch(out.strip()))) == (0, True)
    assert key.is_of(out.strip())
    assert (key.name, key.owner, sorted(key.scopes), key.expires_at) == ("ci", "ci", ["generate", "read"], None)
    assert err == f"key ci of ci: generate and read, in {tmp_path / 'data'}. It is not shown again.\n"


def test_create_takes_owner_scopes_expiry_and_limits(run: Run, store: ApiKeyStore) -> None:
    options = (
        "--owner",
        "team",
        "--scope",
        "read",
        "--scope",
        "admin",
        "--expires",
        "90d",
        "--queued",
        "5",
        "--running",
        "2",
        "--rpm",
        "60",
    )
    run("create", "ci", *options)
    (key,) = store.all()

    assert (key.owner, sorted(key.scopes), key.limits) == ("team", ["admin", "read"], KeyLimits(5, 2, 60))
    assert key.expires_at is not None
    assert 0 <= key.created_at + 90 * 86400 - key.expires_at < 60


def test_a_name_is_used_once(run: Run, store: ApiKeyStore) -> None:
    run("create", "ci")
    run("revoke", "ci")
    status, out, err = run("create", "ci")

    assert (status, out) == (2, "")
    assert "there is a key ci, or was one: choose another name" in err
    assert len(store.all()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "a b"), "must be letters, digits and ._-, up to 64, and begin with a letter or digit, got 'a b'"),
        (("create", ""), "must be letters"),
        (("create", "a" * 65), "must be letters"),
        (("create", "a", "--owner", "a/b"), "must be letters"),
        (("create", "a", "--expires", "3y"), "must be a number and s, m, h or d, up to a hundred years, got '3y'"),
        (("create", "a", "--expires", "99999999d"), "up to a hundred years"),
        (("create", "a", "--queued", "0"), "must be a whole number of at least 1, or none, got '0'"),
        (("create", "a", "--rpm", "-1"), "must be a whole number"),
        (("create", "a", "--scope", "root"), "'root' is not one of"),
        (("revoke", "nobody"), "/data; 'framegate keys list' shows them"),
        (("limits", "nobody"), "no key is called nobody in "),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    run: Run, store: ApiKeyStore, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = run(*arguments)

    assert (status, out) == (2, "")
    assert message in " ".join(err.split())
    assert store.all() == ()


def test_list_of_a_folder_without_a_store_is_empty(run: Run, tmp_path: Path) -> None:
    status, out, err = run("list")

    assert (status, len(out.splitlines())) == (0, 1)
    assert err == f"note: {tmp_path / 'data'} has no store yet, so there is no key\n"


def test_list_shows_each_key_s_state_and_no_key(run: Run) -> None:
    texts = [run("create", name, "--rpm", "60")[1].strip() for name in ("ci", "ops")]
    run("revoke", "ci")
    out = run("list")[1]
    rows = [line.split() for line in out.splitlines()]

    assert rows[0][:5] == ["NAME", "OWNER", "SCOPES", "PREFIX", "STATE"]
    assert rows[1][:6] == ["ci", "ci", "generate", "read", texts[0][:11], "revoked"]
    assert rows[2][:6] == ["ops", "ops", "generate", "read", texts[1][:11], "active"]
    assert rows[2][-3:] == ["-", "-", "60"]
    assert all(text not in out for text in texts)


def test_create_says_which_limits_it_took(run: Run, tmp_path: Path) -> None:
    err = run("create", "ci", "--scope", "read", "--gpu-seconds", "2.0/day", "--cost", "none", "--rpm", "60")[2]

    limits = "--rpm 60, --gpu-seconds 2/day"
    assert err == f"key ci of ci: read, {limits}, in {tmp_path / 'data'}. It is not shown again.\n"


def test_a_revoked_key_is_limited_with_a_note(run: Run, store: ApiKeyStore) -> None:
    run("create", "ci")
    run("revoke", "ci")

    assert run("limits", "ci", "--queued", "5")[2] == "note: key ci is revoked\n"
    assert store.all()[0].limits == KeyLimits(5)


def test_revoke_may_be_said_twice(run: Run, store: ApiKeyStore) -> None:
    run("create", "ci")
    said = [run("revoke", "ci")[1] for _ in range(2)]

    assert said == ["key ci is revoked\n", "key ci was revoked before\n"]
    assert store.all()[0].revoked_at is not None


def test_limits_changes_what_is_given_and_shows_the_key(run: Run, store: ApiKeyStore) -> None:
    run("create", "ci", "--queued", "5", "--running", "2")
    shown = run("limits", "ci")[1]
    changed = run("limits", "ci", "--rpm", "60", "--queued", "none")[1]

    assert shown.split()[-3:] == ["5", "2", "-"]
    assert changed.split()[-3:] == ["-", "2", "60"]
    assert store.all()[0].limits == KeyLimits(None, 2, 60)
