"""Hostile values in both databases: NUL, large numbers, long names, order by code points."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from support.accounts import book
from support.postgresql import Postgres
from support.stores import change, rows

from registry import Input
from router.accounting.budgets import Budget, Budgets
from router.jobs import (
    ApiKeyStore,
    Archive,
    BudgetStore,
    ClaimRequest,
    Database,
    JobFilter,
    JobStore,
    Ledger,
    Overview,
    OwnerStore,
    open_database,
)
from router.jobs.idempotency import Key
from router.jobs.store import LAST
from router.values import Artifact, Failure, Job, Task, Usage

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
TEXTS = {
    "NUL": "a\0b",
    "only NUL": "\0",
    "emoji": "a 👩‍🚀 b",
    "not a character": "\uffff\ufdd0",
    "escapes": "\\u0000 \\ % _ / ' \" $1 :name %s {}",
    "right to left": "\u202eabc",
    "a MB": "ä" * 2**19,
}
EVER = ("0000-01-01", "9999-12-31")
# bytes order these as here; dictionaries order them otherwise
NAMES = ["A-b", "Aa", "B", "Zz", "_z", "a", "a-b", "a.b", "aB", "ab", "b", "é", "日"]


@pytest.fixture
def store(database: Database) -> JobStore:
    return opened(database)


def opened(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)


def job(number: int = 1, prompt: str = "a", **more: Any) -> Job:
    values = {"owner": "me", "model": "m", "task": replace(TASK, prompt=prompt), "created_at": 1.0, **more}
    return Job(f"{number:032x}", **values)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_prompt_comes_back_and_is_found_by_itself(store: JobStore, text: str) -> None:
    store.add(job(1, text))
    store.add(job(2, "another"))
    found = store.page("me", after=None, limit=9, newest_first=True, shown=JobFilter(words=(text[:1000],)))

    assert getattr(store.get(job(1).id, "me"), "task", None) == job(1, text).task
    assert job(1).id in [each.id for each in found or ()]


@pytest.mark.parametrize("word", ["%", "_", "/", "\\", "*", "?", "[a]", "' OR 1=1 --"])
def test_a_word_is_no_pattern(store: JobStore, word: str) -> None:
    store.add(job(1, "abc"))
    store.add(job(2, f"a{word}c"))
    found = store.page("me", after=None, limit=9, newest_first=True, shown=JobFilter(words=(word,)))

    assert [each.id for each in found or ()] == [job(2).id]


@pytest.mark.parametrize("name", ["\0", "a\0", "a\0b", "👩‍🚀", "x" * 5000, "' OR 1=1 --", "%"])
def test_any_name_may_be_asked_for(store: JobStore, database: Database, name: str) -> None:
    store.add(job(1))
    ask = {"after": None, "limit": 9, "newest_first": True}

    assert store.get(name, "me") is store.get(job(1).id, name) is None
    assert store.cancel(name, None) is store.delete(name, "me") is store.delete(job(1).id, name) is None
    assert store.page("me", **{**ask, "after": name}) is None
    assert store.page(name, **ask) == ()
    assert store.page("me", **ask, shown=JobFilter(frozenset({name}))) == ()
    assert store.keyed(name, Key(name, "digest")) is None
    assert store.claim(name, ClaimRequest([name])) is None
    assert ApiKeyStore(database).find(name) is None
    assert BudgetStore(database).balances(name, name) == ()
    assert Ledger(database).rows(*EVER, owner=name, key=name, model=name) == ()
    assert Overview(database).failed(name, 9) is None
    assert Archive(database).known([name, job(1).id]) == {job(1).id}
    assert not Archive(database).forget(name)


@pytest.mark.parametrize("half", ["\ud800", "a\udfff"])
def test_half_a_surrogate_pair_is_refused_and_nothing_is_written(store: JobStore, half: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.add(job(1, half))
    with pytest.raises(UnicodeEncodeError):
        store.get(half, "me")

    assert store.newest() == 0
    store.add(job(2))
    assert store.newest() == 1


def test_texts_of_plugins_come_back_from_columns_of_json(store: JobStore) -> None:
    said = "half \ud800, NUL \0, 🚀"
    store.add(job(1, warnings=(said,)))
    store.add(job(2))
    claim = store.claim("e", ClaimRequest(["m"]))
    assert claim is not None
    failed = store.fail(claim[0], Failure("x", said), cause="a\0b")

    assert failed is not None
    assert (failed.failure, failed.warnings) == (Failure("x", said), (said,))
    assert (failed.cause or "").startswith("a")


def test_the_largest_numbers_come_back(store: JobStore) -> None:
    most = 2**63 - 1
    task = replace(TASK, seed=most, width=2**31, height=2**31, num_frames=2**31)
    added = store.add(job(1, model="m", task=task, revision=most, priority=2**31 - 1, estimate=1e308, price=1e308))

    assert store.get(added.id, "me") == added
    assert (added.task, added.revision) == (task, most)


def test_a_page_starts_at_the_last_number(store: JobStore, database: Database) -> None:
    store.add(job(1))
    change(database, "UPDATE jobs SET seq = :last", last=LAST - 1)
    page = store.page("me", after=None, limit=2**31, newest_first=True)

    assert [each.id for each in page or ()] == [job(1).id]
    assert store.page("me", after=job(1).id, limit=1, newest_first=False) == ()


def test_sums_above_32_bits_are_plain_numbers(store: JobStore, database: Database) -> None:
    used = Usage(1.5, 2**31, 2**31, 2**62)
    for number in range(2):
        store.add(job(number, key="fg-12345678", price=2.0, estimate=3.0))
        claim = store.claim("e", ClaimRequest(["m"]))
        assert claim is not None
        store.finish(claim[0], VIDEO, (), used if number else replace(used, pixels=2**61))
    store.add(job(9, key="fg-12345678", price=2.0))
    OwnerStore(database).limit("me", Budgets(Budget.parse("9/day"), Budget.parse("9/day")))
    books, overview = Ledger(database), Overview(database)
    (row,), (by_key,) = books.rows(*EVER), books.rows_by_key(*EVER)

    expected = Usage(3.0, 2**32, 2**32, 2**62 + 2**61, 6.0)
    assert row.used == by_key.used == expected
    numbers = [
        *(value for used in (row.used, by_key.used) for value in vars(used).values()),
        *(row.attempts, by_key.attempts),
        *books.gpu_seconds().values(),
        *(value for model in overview.queue() for value in vars(model).values()),
        *(value for hour in overview.hours(2) for value in vars(hour).values()),
        *(value for balance in BudgetStore(database).balances("me", None) for value in vars(balance).values()),
        *store.counts().values(),
        store.newest(),
        *(
            value
            for _, size in filter(None, Archive(database).outputs_before(time.time() + 1).values())
            for value in [size]
        ),
    ]
    assert not [number for number in numbers if isinstance(number, Decimal)]
    assert sum(hour.gpu_seconds for hour in overview.hours(2)) == 3.0
    json.dumps([vars(hour) for hour in overview.hours(2)])


@pytest.fixture
def dictionary(postgres: Postgres) -> Iterator[Database]:
    """Return a fresh store whose database orders texts as an American dictionary does."""
    postgres.start()
    name = f"test_{uuid.uuid4().hex}"
    locale = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
    postgres.psql(f"CREATE DATABASE {name} TEMPLATE template0 {locale}")
    database = open_database(postgres.url(name))
    yield database
    database.close()
    postgres.drop(name)


def test_names_come_in_the_order_of_their_bytes(database: Database) -> None:
    assert in_order(database) == [sorted(NAMES, key=str.encode)] * 3


def test_names_come_in_the_order_of_their_bytes_where_a_dictionary_rules(dictionary: Database) -> None:
    dictionary_order = rows(dictionary, "SELECT x FROM (VALUES ('Zz'), ('a')) AS t(x) ORDER BY x")

    assert dictionary_order == [("a",), ("Zz",)]  # or the test would be of nothing
    assert in_order(dictionary) == [sorted(NAMES, key=str.encode)] * 3


def in_order(database: Database) -> list[list[str]]:
    """Return names in each store's order: of owners, queues, and the ledger."""
    store, owners = opened(database), OwnerStore(database)
    for number, name in enumerate(reversed(NAMES)):
        store.add(job(number, model=name))
        owners.limit(name, Budgets(Budget.parse("9/day")))
        book(database, "2026-12-01", 1.0, owner=name)
    return [
        list(owners.all()),
        [queue.model for queue in Overview(database).queue()],
        [row.owner for row in Ledger(database).rows(*EVER)],
    ]
