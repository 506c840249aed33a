"""Faults of three machines with one store: no job is lost, or done twice."""

import os
import random
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from support.keyed_callers import KeyedCallers, made
from support.machine_faults import CRASH, KINDS, Scene, happen
from support.namespaces import need_namespaces
from support.patience import until, watch
from support.shared_books import END_SECONDS, completed_jobs
from support.three_machines import LEASE, Site, three_machines

pytestmark = pytest.mark.slow
SEED = "FRAMEGATE_TEST_SEED"
HELD_SECONDS = 10  # idle_in_transaction_session_timeout of a write
LEFT = 50  # jobs: with more no further fault begins, for a storm is not to be one long outage
HANDS = 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_namespaces()
    with three_machines(tmp_path_factory.mktemp("machines")) as site:
        yield site


@pytest.fixture(autouse=True)
def logs(site: Site, request: pytest.FixtureRequest) -> Iterator[None]:
    """Print the logs of the machines; pytest shows them of a failed test."""
    yield
    print(site.logs())


def test_the_jobs_of_a_machine_that_is_gone_run_on_another_when_their_lease_ends(site: Site) -> None:
    job = made(site.switch, site.addresses, "slow", steps=40)
    began = f"SELECT engine FROM jobs WHERE id = '{job}' AND progress LIKE '%step%'"
    lease = f"SELECT lease_until FROM jobs WHERE id = '{job}' AND attempt = 1"
    again = f"SELECT engine, claimed_at FROM attempts WHERE job = '{job}' AND attempt = 2"
    ((engine,),) = until(lambda: site.store.rows(began))
    died_at = site.store.now()
    with watch() as taken:
        site.of(engine).vanish()
        ((lease_until,),) = site.store.rows(lease)
        ((other, claimed_at),) = until(lambda: site.store.rows(again))
    site.of(engine).boot()
    site.ready()

    assert site.of(other) is not site.of(engine)
    assert lease_until <= claimed_at
    # a machine that dies inside a write keeps the lock of writers, until PostgreSQL ends its session
    assert min(claimed_at - died_at, taken.seconds) < LEASE + HELD_SECONDS + 2
    assert completed_jobs(site) == {job}


def storm(site: Site, jobs: int, *, kinds: Collection[str] = KINDS, rounds: int = 1, hands: int = HANDS) -> None:
    """Let faults happen while callers request videos; then close the books.

    `jobs` is the least number of videos, `hands` that of faults at a time.
    """
    seed = os.environ.get(SEED) or str(random.randrange(10**6))
    print(f"{SEED}={seed}")
    faults = [kind for number in range(rounds) for kind in Random(f"{seed} {number}").sample([*kinds], len(kinds))]
    before = completed_jobs(site)
    with KeyedCallers(site.switch, site.addresses) as callers:

        def fault(number: int) -> None:
            until(lambda: len(callers.keys) + len(before) - site.store.completed() < LEFT, END_SECONDS)
            callers.put(jobs * (number + 1) // len(faults) - jobs * number // len(faults))
            happen(faults[number], Scene(site, callers, Random(f"{seed} {number}")))

        with ThreadPoolExecutor(hands) as hands:
            list(hands.map(fault, range(len(faults))))
        site.ready()
        until(callers.answered, END_SECONDS)
        done = completed_jobs(site)

    print(f"streams: {callers.streams}")
    assert not callers.refused
    assert set(callers.streams) == {""}
    assert len(callers.jobs) == len(callers.keys) >= jobs
    assert done - before == set(callers.jobs.values())
    assert len(done - before) == len(callers.keys)


@pytest.mark.timeout(900)
def test_each_fault_of_three_machines_in_a_storm_of_requests(site: Site) -> None:
    storm(site, jobs=200)


@pytest.mark.storm
@pytest.mark.timeout(900)
def test_a_store_that_crashes_every_few_seconds(site: Site) -> None:
    storm(site, jobs=400, kinds=[CRASH], rounds=30, hands=1)


@pytest.mark.storm
@pytest.mark.timeout(3600)
def test_two_thousand_jobs_in_a_storm_of_faults(site: Site) -> None:
    storm(site, jobs=2000, rounds=6)
