"""`framegate owners`, on the command line, and budgets of keys."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.accounts import book
from support.command import Run, runner

from router.accounting.budgets import Budget, Budgets, Window
from router.auth.keys import KeyLimits
from router.jobs import ApiKeyStore, Database, OwnerStore, open_database

DAY, MONTH = Budget(3600, Window.DAY), Budget(20.5, Window.MONTH)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    missing = tmp_path / "missing.yaml"  # owners are limited whatever the models are
    return runner(monkeypatch, capsys, models=missing, data=tmp_path / "data", plugins="")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path / "data" / "jobs.sqlite")


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()[1:]]


def test_a_key_is_created_with_budgets_and_they_are_changed(run: Run, database: Database) -> None:
    keys = ApiKeyStore(database)
    run("keys", "create", "ci", "--gpu-seconds", "3600/day", "--cost", "20.50/month", "--queued", "5")
    created = keys.all()[0].limits
    shown = run("keys", "limits", "ci", "--gpu-seconds", "none")[1]

    assert created == KeyLimits(queued=5, gpu_seconds=DAY, cost=MONTH)
    assert rows(shown)[0][-6:] == ["5", "-", "-", "20.5/month", "0.000000", "20.500000"]
    assert keys.all()[0].limits == KeyLimits(queued=5, cost=MONTH)


def test_an_owner_is_limited_and_no_longer(run: Run, database: Database) -> None:
    run("keys", "create", "ci", "--owner", "team")
    first = run("owners", "limits", "team", "--gpu-seconds", "3600/day")[1]
    second = run("owners", "limits", "team", "--cost", "20.5/month")[1]

    assert rows(first) == [["team", "1", "3600/day", "0.000", "3600.000"]]
    assert rows(second) == [["team", "1", "3600/day", "0.000", "3600.000", "20.5/month", "0.000000", "20.500000"]]
    assert OwnerStore(database).all() == {"team": Budgets(DAY, MONTH)}
    none = run("owners", "limits", "team", "--gpu-seconds", "none", "--cost", "none")[1]
    assert rows(none) == [["team", "1"]]
    assert OwnerStore(database).all() == {}


def test_list_shows_owners_of_keys_and_of_budgets(run: Run) -> None:
    for name in ("a", "b", "c"):
        run("keys", "create", name, "--owner", "team" if name < "c" else "solo")
    run("keys", "revoke", "b")
    run("keys", "revoke", "c")
    run("owners", "limits", "local", "--cost", "1/week")

    assert rows(run("owners", "list")[1]) == [
        ["local", "0", "1/week", "0.000000", "1.000000"], ["solo", "0", "-", "-", "-"], ["team", "1", "-", "-", "-"],
    ]  # fmt: skip


def test_list_shows_what_is_left_of_own_and_default_budgets(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMEGATE_OWNER_GPU_SECONDS", "100/month")
    book(database, f"{datetime.now(UTC):%Y-%m-%d}", 12.34567, owner="local", cost=3.0)
    alone = run("owners", "list")[1]
    run("keys", "create", "ci", "--owner", "team", "--expires", "90d")
    run("owners", "limits", "local", "--cost", "2/month")

    default = ["100/month", "(default)"]
    assert rows(alone) == [["local", "0", *default, "12.346", "87.654"]]
    assert rows(run("owners", "list")[1]) == [
        ["local", "0", *default, "12.346", "87.654", "2/month", "3.000000", "0.000000"],
        ["team", "1", *default, "0.000", "100.000", "-", "-", "-"],
    ]  # fmt: skip


def test_list_of_keys_shows_what_is_left_of_their_budgets(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMEGATE_KEY_COST", "5/week")
    for name in ("ci", "ops"):
        run("keys", "create", name, "--owner", "team", *(("--gpu-seconds", "60/day") if name == "ci" else ()))
    run("owners", "limits", "team", "--gpu-seconds", "9/day")
    book(
        database, f"{datetime.now(UTC):%Y-%m-%d}", 12.5, owner="team", key=ApiKeyStore(database).all()[0].id, cost=1.25
    )
    out = run("keys", "list")[1]

    ends = ("GPU-SECONDS BUDGET  GPU-SECONDS USED  GPU-SECONDS LEFT  COST BUDGET       COST USED  COST LEFT",
            "60/day                        12.500            47.500  5/week (default)   1.250000   3.750000",
            "-                                  -                 -  5/week (default)   0.000000   5.000000")  # fmt: skip
    assert [line.endswith(end) for line, end in zip(out.splitlines(), ends, strict=True)] == [True] * 3, out


def test_an_owner_without_budgets_stays_while_it_has_used_something(run: Run, database: Database) -> None:
    for owner in ("taem", "team"):
        run("owners", "limits", owner, "--cost", "1/day")
    book(database, "2020-02-02", 1.0, owner="team")
    for owner in ("taem", "team"):
        run("owners", "limits", owner, "--cost", "none")

    assert rows(run("owners", "list")[1]) == [["local", "0"], ["team", "0"]]


def test_an_owner_without_keys_is_limited_with_a_note(run: Run, database: Database, tmp_path: Path) -> None:
    status, _, err = run("owners", "limits", "taem", "--gpu-seconds", "3600/day")

    assert (status, err) == (0, f"note: no key in {tmp_path / 'data'} is of owner taem\n")
    assert OwnerStore(database).all() == {"taem": Budgets(DAY)}
    assert run("owners", "limits", "local")[2] == ""


def test_nothing_is_created_to_look_at_owners(run: Run, tmp_path: Path) -> None:
    listed, shown = run("owners", "list"), run("owners", "limits", "team")

    note = f"note: {tmp_path / 'data'} has no store yet, so there is no owner\n"
    assert [(status, rows(out), err) for status, out, err in (listed, shown)] == [(0, [], note)] * 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("owners", "limits", "a b"), "must be letters, digits and ._-, up to 64, and begin with a letter or digit"),
        (
            ("owners", "limits", "a", "--cost", "20"),
            "must be none, or a number above 0 (up to 9 digits and 4 decimals), a slash, and day, week",
        ),
        (("owners", "limits", "a", "--gpu-seconds", "0/day"), "such as 3600/day or 20.5/month, got '0/day'"),
        (("keys", "create", "a", "--gpu-seconds", "1e3/day"), "got '1e3/day'"),
        (("keys", "create", "a", "--cost", "5/year"), "a slash, and day, week or month"),
    ],
)
def test_a_wrong_budget_is_named_and_changes_nothing(
    run: Run, database: Database, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = run(*arguments)

    assert (status, out) == (2, "")
    assert message in " ".join(err.split())
    assert (ApiKeyStore(database).all(), OwnerStore(database).all()) == ((), {})
