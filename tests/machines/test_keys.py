"""What keys open, and how often, on all machines of a store."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from support.callers import client_of, make_key
from support.patience import until
from support.postgresql import Postgres

from router.engine.worker import Worker
from router.jobs import FactStore, RateStore, open_database
from router.jobs.rates import MINUTE
from router.system import System
from router.web import create_app
from router.web.auth.rate_limit import rate_limits

Pair = tuple[System, System]


@pytest.fixture
def engine(pair: Pair) -> Iterator[Worker]:
    """Run an engine on the first machine."""
    engine = Worker(pair[0], "cpu")
    thread = Thread(target=engine.run, daemon=True)
    thread.start()
    yield engine
    engine.keeper.stop()
    thread.join(10)


def test_a_link_of_one_machine_opens_at_another(pair: Pair, engine: Worker) -> None:
    key = make_key(pair[0], "team")
    one, two = (create_app(system) for system in pair)
    made = client_of(two, key).post("/v1/responses", json={"model": "text", "input": "a"}).get_json()
    link = made["output"][0]["content"][0]["video_url"]
    changed = link[:-1] + ("0" if link[-1] != "0" else "1")

    assert one.test_client().get(link).status_code == 200  # which has the file
    assert one.test_client().get(changed).status_code == 403
    assert one.test_client().get(link.partition("?")[0]).status_code == 401


def test_a_secret_is_made_once_by_many_processes(postgres_url: str) -> None:
    stores = [open_database(postgres_url) for _ in range(4)]
    try:
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda n: FactStore(stores[n % 4]).get_or_make("secret", lambda: str(n)), range(32)))
    finally:
        for store in stores:
            store.close()

    assert len(found) == 1


def test_a_local_store_keeps_its_secret_and_rates_in_files(system: System) -> None:
    key = make_key(system, "team", per_minute=5)
    client = client_of(create_app(system), key)
    client.post("/v1/responses", json={"model": "text", "input": "a", "background": True})

    assert (system.settings.data / "rates").stat().st_size > 0
    with system.database.read() as db:
        assert db.scalar(text("SELECT count(*) FROM rates")) == 0
        assert db.scalar(text("SELECT count(*) FROM facts WHERE name = 'links.secret'")) == 0


def test_a_keys_calls_count_on_all_machines(pair: Pair) -> None:
    key = make_key(pair[0], "team", per_minute=4)
    other = make_key(pair[0], "other", per_minute=1)
    one, two = (create_app(system) for system in pair)
    called = [client_of(app, key).get("/v1/models") for app in (one, two, one, two, one, two)]

    assert [answer.status_code for answer in called] == [200] * 4 + [429] * 2
    assert 1 <= int(called[-1].headers["retry-after"]) <= 15
    assert client_of(two, other).get("/v1/models").status_code == 200
    assert client_of(one, other).get("/v1/models").status_code == 429


def test_estimates_count_apart(pair: Pair) -> None:
    key = make_key(pair[0], "team", per_minute=1)
    one, two = (client_of(create_app(system), key) for system in pair)
    body = {"model": "text", "prompt": "a"}
    asked = [client.post("/v1/videos/estimate", json=body).status_code for client in (one, two, one, two, one)]

    assert asked == [200] * 4 + [429]
    assert two.get("/v1/models").status_code == 200


def test_threads_of_two_machines_count_together(pair: Pair) -> None:
    rates = [RateStore(system.database) for system in pair]
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda n: rates[n % 2].count("calls", 7, 60), range(120)))

    # a call a second becomes free while they are counted
    let_in = sum(wait == 0 for wait in waits)
    assert 60 <= let_in <= 60 + 15
    assert all(0 <= wait <= 1 + 1e-6 for wait in waits)


@pytest.mark.parametrize("ahead", [-1e300, -5.0, MINUTE + 1, 1e300])
def test_an_impossible_instant_counts_as_past(pair: Pair, ahead: float) -> None:
    database = pair[0].database
    with database.write() as db:
        now = database.instant(db).now
        db.execute(text("INSERT INTO rates VALUES (1, 'calls', :free)"), {"free": now + ahead})
    rates = RateStore(database)

    assert [rates.count("calls", 1, 2) for _ in range(2)] == [0, 0]
    assert 0 < rates.count("calls", 1, 2) <= 30


def test_a_limit_whose_store_is_gone_says_so_by_the_error_of_the_store(pair: Pair, postgres: Postgres) -> None:
    calls, _ = rate_limits(pair[0])
    assert calls.count(1, 100, 0.0) == 0
    postgres.stop("immediate")
    with pytest.raises(OperationalError):  # as any other statement raises it, so that the request ends as others do
        calls.count(1, 100, 0.0)
    postgres.start()
    until(lambda: pair[0].database.problem() is None)

    assert calls.count(1, 100, 0.0) == 0
