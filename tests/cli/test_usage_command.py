"""`framegate usage`, on the command line."""

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from support.callers import USUAL
from support.command import Run, runner

from router.auth.keys import new_key, new_text
from router.jobs import ApiKeyStore, open_database
from router.jobs.tables import ledger

TODAY = datetime.now(UTC).date()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate usage ...` in this process; return its status, output and messages."""
    missing = tmp_path / "missing.yaml"  # what was used does not depend on the models
    return runner(monkeypatch, capsys, "usage", models=missing, data=tmp_path / "data", plugins="")


class Book:
    """A store with keys and rows of the ledger."""

    def __init__(self, data: Path) -> None:
        self.database = open_database(data / "jobs.sqlite")

    def key(self, name: str, owner: str) -> str:
        """Add a key and return its id."""
        key = ApiKeyStore(self.database).add(new_key(new_text(), name, owner, USUAL))
        assert key is not None
        return key.id

    def add(self, owner: str, key: str = "", outcome: str = "completed", days_ago: int = 0, **more: Any) -> None:
        amounts = {"gpu_seconds": 1.5, "steps": 4, "frames": 5, "pixels": 100, "cost": 0.25}
        row = {"day": day(days_ago), "owner": owner, "key": key, "model": "m", "outcome": outcome, "attempts": 1}
        with self.database.write() as db:
            db.execute(insert(ledger).values({**row, **amounts, **more}))


def day(ago: int) -> str:
    return (TODAY - timedelta(ago)).isoformat()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "data")


def cells(out: str) -> list[list[str]]:
    """Return the cells of each line below that of the days."""
    return [line.split() for line in out.splitlines()[1:]]


def test_a_folder_without_a_store_has_used_nothing_and_gets_none(run: Run, tmp_path: Path) -> None:
    status, out, err = run()

    assert (status, cells(out)[1:]) == (0, [["total", "0", "0.000", "0", "0"]])
    assert err == f"note: {tmp_path / 'data'} has no store yet, so nothing was used\n"
    assert not (tmp_path / "data").exists()


def test_each_row_stands_in_a_line_above_the_total(run: Run, book: Book) -> None:
    first, second = book.key("red", "reds"), book.key("blue", "blues")
    book.add("reds", first)
    book.add("blues", second, cost=0, attempts=3)

    assert run()[1].splitlines() == [
        f"{day(29)} to {day(0)} (UTC)",
        "DAY         OWNER  KEY   MODEL  COMPLETED  GPU-SECONDS  STEPS  FRAMES      COST",
        f"{day(0)}  blues  blue  m              3        1.500      4       5  0.000000",
        f"{day(0)}  reds   red   m              1        1.500      4       5  0.250000",
        "total                                   4        3.000      8      10  0.250000",
    ]


def test_columns_without_a_number_are_left_out_of_the_table_alone(run: Run, book: Book) -> None:
    book.add("a", outcome="failed")
    book.add("a", outcome="lost")
    book.add("", outcome="load", gpu_seconds=7.0, cost=0)
    shown, plain = run("--by", "model")[1], run("--by", "model", "--csv")[1]

    headings = ["MODEL", "COMPLETED", "FAILED", "GPU-SECONDS", "STEPS", "FRAMES", "COST", "LOST", "LOST GPU-SECONDS"]
    assert re.split("  +", shown.splitlines()[1]) == headings
    assert cells(shown)[1] == ["m", "0", "1", "1.500", "4", "5", "0.250000", "1", "1.500"]
    assert plain.splitlines() == [
        "model,completed,failed,cancelled,gpu_seconds,steps,frames,total_pixels,cost,lost,lost_gpu_seconds,loads,load_seconds",
        "m,0,1,0,1.5,4,5,100,0.25,1,1.5,1,7",
    ]


def test_loads_belong_to_nobody_and_stand_below(run: Run, book: Book) -> None:
    book.add("a")
    for model in ("m", "n"):
        book.add("", outcome="load", model=model, gpu_seconds=7.25)
    title = "Loads of models, which are the server's:"

    assert run("--by", "owner,model")[1].splitlines()[3:] == [
        "total                 1        1.500      4       5  0.250000", "", title,
        "MODEL  LOADS  LOAD SECONDS", "m          1         7.250", "n          1         7.250",
    ]  # fmt: skip
    assert cells(run("--by", "owner")[1])[-2:] == [["LOADS", "LOAD", "SECONDS"], ["2", "14.500"]]
    assert title not in run("--by", "owner", "--owner", "a")[1]


def test_rows_are_those_of_an_owner_a_key_or_a_model(run: Run, book: Book) -> None:
    first, second = book.key("red", "reds"), book.key("blue", "blues")
    book.add("reds", first)
    book.add("reds", second, model="n")

    def keys(*options: str) -> list[str]:
        return [row[0] for row in cells(run("--by", "key", *options)[1])[1:-1]]

    assert keys("--owner", "reds") == ["blue", "red"]
    assert keys("--key", "red") == keys("--key", first) == ["red"]
    assert keys("--model", "n") == ["blue"]
    assert keys("--owner", "local") == []


def test_days_are_counted_up_to_the_last(run: Run, book: Book) -> None:
    for ago in (0, 1, 6, 7, 29, 30):
        book.add("a", days_ago=ago)

    def days(*options: str) -> list[str]:
        return [row[0] for row in cells(run("--by", "day", *options)[1])[1:-1]]

    assert days() == [day(29), day(7), day(6), day(1), day(0)]
    assert days("--since", "7d") == [day(6), day(1), day(0)]
    assert days("--since", "1d", "--until", day(6)) == [day(6)]
    assert days("--since", day(30), "--until", day(7)) == [day(30), day(29), day(7)]


def test_a_name_that_nobody_has_is_refused_with_those_that_there_are(run: Run, book: Book, tmp_path: Path) -> None:
    for n in range(21):
        book.add(f"owner-{n:02}", model=f"m{n % 2}")
    book.key("red", "reds")
    status, out, err = run("--owner", "red", "--csv")

    names = ", ".join(["local", *(f"owner-{n:02}" for n in range(19))])
    assert (status, out) == (2, "")
    assert f"no owner is called 'red' in {tmp_path}/data; there are {names} and 3 more" in " ".join(err.split())
    assert "there are m0, m1" in run("--model", "m2")[2]


def test_a_model_that_never_ran_and_an_alias_are_known(run: Run, book: Book, tmp_path: Path) -> None:
    entry = "{backend: still, modality: t2v, aliases: [old]}"
    (tmp_path / "missing.yaml").write_text(f"models:\n  new: {entry}\n")
    book.add("a", model="new")

    assert cells(run("--model", "old", "--by", "model")[1])[1][0] == "new"
    assert "there are new" in run("--model", "nwe")[2]


def test_rows_are_summed_by_the_fields_that_are_named(run: Run, book: Book) -> None:
    book.add("a", days_ago=1)
    book.add("a")
    book.add("b")

    assert cells(run("--by", "owner,day")[1])[1][:3] == ["a", day(1), "1"]
    assert [row[:2] for row in cells(run("--by", "owner")[1])[1:]] == [["a", "2"], ["b", "1"], ["total", "3"]]


def test_no_cell_of_the_csv_is_a_formula(run: Run, book: Book) -> None:
    names = ["=1+1", "+1", "-1", "@sum", '"quoted", and more']
    for name in names:
        book.add("a", model=name)
    found = [row[0] for row in csv.reader(run("--csv", "--by", "model")[1].splitlines()[1:])]

    assert sorted(found) == sorted(["'=1+1", "'+1", "'-1", "'@sum", '"quoted", and more'])


def test_numbers_of_the_csv_are_plain(run: Run, book: Book) -> None:
    book.add("a", gpu_seconds=12_345_678.1239, cost=0.00001, pixels=10**12)
    (row,) = csv.DictReader(run("--csv")[1].splitlines())

    assert (row["gpu_seconds"], row["cost"], row["total_pixels"]) == ("12345678.124", "0.00001", "1000000000000")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "soon"], "must be a day, such as 2026-12-01, or days, such as 7d, got 'soon'"),
        (["--since", "0d"], "must be a day, such as 2026-12-01, or days, such as 7d, got '0d'"),
        (["--since", "99999d"], "must be a day, such as 2026-12-01, or days, such as 7d, got '99999d'"),
        (["--until", "7d"], "must be a day, such as 2026-12-01, got '7d'"),
        (["--until", "2026-02-30"], "must be a day, such as 2026-12-01, got '2026-02-30'"),
        (["--since", "2026-01-02", "--until", "2026-01-01"], "must be up to 2026-01-01, the last day, got 2026-01-02"),
        (["--by", "weekday"], "must be some of day, owner, key, model, each once, with a comma and no space between"),
        (["--by", "day,day"], "each once, with a comma and no space between them, got 'day,day'"),
        (["--by", ""], "must be some of day, owner, key, model, each once"),
        (["--key", "nobody"], "no key is called 'nobody' in "),
        (["--owner", "lcoal"], "Invalid value for '--owner': no owner is called 'lcoal' in "),
        (["--model", "m"], "/data; there are none"),
    ],
)
def test_bad_options_are_refused(run: Run, book: Book, options: list[str], message: str) -> None:
    status, out, err = run(*options)

    assert (status, out) == (2, "")
    assert message in " ".join(err.split())
