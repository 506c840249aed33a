"""What is used and reserved of the budgets in the store."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from router.accounting.budgets import Account, Balance, Budgets, Need, Subject, Unit, Window
from router.accounting.refusals import hold, refusal
from router.errors import QuotaExceeded
from router.jobs.accounts.owners import budget_of
from router.jobs.database import Database
from router.runtime import clock

CALLERS = """
    SELECT callers.owner AS owner, callers.key AS "key", coalesce(api_keys.name, callers.key) AS key_name,
        owners.gpu_seconds AS owner_gpu_seconds, owners.cost AS owner_cost,
        api_keys.gpu_seconds AS key_gpu_seconds, api_keys.cost AS key_cost
    FROM ({}) AS callers
    LEFT JOIN owners ON owners.owner = callers.owner LEFT JOIN api_keys ON api_keys.id = callers.key
"""
ONE = text(CALLERS.format('SELECT :owner AS owner, :key AS "key"'))
MANY = text(
    CALLERS.format("""SELECT json_extract(value, '$[0]') AS owner, json_extract(value, '$[1]') AS "key"
    FROM json_each(:callers)""")
)
QUEUED = text(CALLERS.format("SELECT DISTINCT owner, key FROM jobs WHERE status = 'queued'"))
ANY = text("""
    SELECT EXISTS (SELECT 1 FROM owners WHERE gpu_seconds IS NOT NULL OR cost IS NOT NULL)
        OR EXISTS (SELECT 1 FROM api_keys WHERE gpu_seconds IS NOT NULL OR cost IS NOT NULL)
""")
USED = {  # by the place in `wanted`: an id, and the first and the last day of its window
    subject: text(f"""
    SELECT wanted.key AS n, total(ledger.gpu_seconds) AS gpu_seconds, total(ledger.cost) AS cost
    FROM json_each(:wanted) AS wanted CROSS JOIN ledger
    WHERE ledger.{subject} = json_extract(wanted.value, '$[0]')
        AND ledger.day BETWEEN json_extract(wanted.value, '$[1]') AND json_extract(wanted.value, '$[2]')
        AND ledger.outcome IN ('completed', 'failed', 'cancelled')
    GROUP BY wanted.key
    """)
    for subject in Subject
}
BUSY = text("SELECT owner, key FROM attempts UNION SELECT owner, key FROM jobs WHERE status = 'queued'")
# `+owner`: by the index of queued jobs, as that of owners holds all their finished ones too
UNFINISHED = {
    subject: text(f"""
    SELECT price > 0 AS priced, count(*) AS jobs, total(unknown) AS unknown, total(seconds) AS gpu_seconds,
        total(seconds * price) AS cost
    FROM (
        SELECT coalesce(price, 0) AS price, estimate IS NULL AND boot = :boot AS unknown,
            max(coalesce(estimate, 0), CASE WHEN boot = :boot THEN coalesce(:now - began, 0) ELSE 0 END) AS seconds
        FROM attempts WHERE {subject} = :id
        UNION ALL
        SELECT coalesce(price, 0), estimate IS NULL, coalesce(estimate, 0)
        FROM jobs WHERE status = 'queued' AND {"+owner" if subject is Subject.OWNER else "key"} = :id
    )
    GROUP BY priced
    """)
    for subject in Subject
}
RUNNING = {
    subject: text(f"""
    SELECT {subject} AS id, total(:now - began) AS gpu_seconds, total((:now - began) * price) AS cost
    FROM attempts WHERE boot = :boot AND began IS NOT NULL GROUP BY {subject}
    """)
    for subject in Subject
}
HELD_BACK = text("""
    SELECT seq, owner, key, price > 0 AS priced FROM jobs WHERE status = 'queued' AND (
        owner IN (SELECT value FROM json_each(:owner_gpu_seconds))
        OR key IN (SELECT value FROM json_each(:key_gpu_seconds))
        OR price > 0 AND (
            owner IN (SELECT value FROM json_each(:owner_cost)) OR key IN (SELECT value FROM json_each(:key_cost))
        )
    )
""")
NO_BUDGETS = Budgets()


def utc_now() -> datetime:
    return datetime.now(UTC)


class BudgetStore:
    """The budgets of keys and owners; `keys` and `owners` are the defaults."""

    def __init__(
        self,
        database: Database,
        *,
        keys: Budgets = NO_BUDGETS,
        owners: Budgets = NO_BUDGETS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._db = database
        self._defaults = {Subject.OWNER: owners, Subject.KEY: keys}
        self._now = now

    def check(self, db: Connection, need: Need) -> None:
        """Raise `QuotaExceeded` for jobs beyond a budget of their owner or key."""
        accounts = [each for each in self._accounts_of(db, need.owner, need.key) if need.concerns(each.unit)]
        now = self._now()
        for balance in _balances(db, accounts, now):
            if not balance.covers(need):
                raise QuotaExceeded(refusal(balance, need, now))

    def balances(self, owner: str, key: str | None) -> tuple[Balance, ...]:
        """Return the state of every budget of an owner and a key."""
        with self._db.read() as db:
            return tuple(_balances(db, self._accounts_of(db, owner, key), self._now()))

    def all_balances(self, callers: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[Balance, ...]]:
        """Return the same of many owners with their keys at once."""
        with self._db.read() as db:
            if not self._has_any(db):
                return {}
            known = db.execute(MANY, {"callers": json.dumps(list(callers))}).mappings().all()
            accounts = {(row["owner"], row["key"]): tuple(self._accounts(row)) for row in known}
            busy = {(subject, row[subject]) for row in db.execute(BUSY).mappings() for subject in Subject}
            every = dict.fromkeys(account for own in accounts.values() for account in own)
            found = {each.account: each for each in _balances(db, every, self._now(), busy)}
        return {caller: tuple(found[account] for account in own) for caller, own in accounts.items()}

    def held_back(self, db: Connection) -> Mapping[int, str]:
        """Return the queued jobs of spent budgets: why each waits, by row number."""
        # estimates are wrong at times: what runs may overdraw a budget, and then nothing more starts until the next
        # window or a higher budget
        if not self._has_any(db):
            return {}
        now = self._now()
        callers = db.execute(QUEUED).mappings().all()
        accounts = list(dict.fromkeys(account for row in callers for account in self._accounts(row)))
        running = _running(db)
        sums = zip(accounts, _used(db, accounts, now), strict=True)
        spent = [account for account, used in sums if account.spent(used + running.get(_name(account), 0.0))]
        if not spent:
            return {}
        spent.sort(key=lambda account: account.budget.window.ends(now))  # the last one decides
        ids = {f"{subject}_{unit}": _ids(spent, subject, unit) for subject in Subject for unit in Unit}
        why = {_name(account): (n, hold(account, now)) for n, account in enumerate(spent)}
        return {row["seq"]: max(_reasons(why, row))[1] for row in db.execute(HELD_BACK, ids).mappings()}

    def _has_any(self, db: Connection) -> bool:
        return set(self._defaults.values()) != {NO_BUDGETS} or bool(db.scalar(ANY))

    def _accounts_of(self, db: Connection, owner: str, key: str | None) -> list[Account]:
        return list(self._accounts(db.execute(ONE, {"owner": owner, "key": key}).mappings().one()))

    def _accounts(self, caller: Mapping[Any, Any]) -> Iterator[Account]:
        """Yield the accounts of an owner and its key, from a row of `CALLERS`."""
        for subject, name in ((Subject.OWNER, caller["owner"]), (Subject.KEY, caller["key_name"])):
            if name is None:
                continue
            own = Budgets(*(budget_of(caller[f"{subject}_{unit}"]) for unit in Unit))
            budgets = own.over(self._defaults[subject])
            for unit, budget in zip(Unit, (budgets.gpu_seconds, budgets.cost), strict=True):
                if budget:
                    yield Account(subject, caller[subject], name, unit, budget)


def _balances(
    db: Connection,
    accounts: Collection[Account],
    now: datetime,
    busy: Collection[tuple[Subject, str]] | None = None,
) -> Iterator[Balance]:
    """Yield the balances of accounts; `busy` are the subjects with unfinished jobs."""
    # used before unfinished: a job that ends between the two, outside a transaction, is counted once at most
    used = _used(db, accounts, now)
    ids = {(account.subject, account.id) for account in accounts}
    unfinished = {each: _unfinished(db, *each) if busy is None or each in busy else [] for each in ids}
    for account, sums in zip(accounts, used, strict=True):
        rows = [
            row for row in unfinished[account.subject, account.id] if account.unit is Unit.GPU_SECONDS or row["priced"]
        ]
        expected, jobs, unknown = (sum(row[name] for row in rows) for name in (account.unit, "jobs", "unknown"))
        yield Balance(account, sums, float(expected), jobs, int(unknown))


def _used(db: Connection, accounts: Collection[Account], now: datetime) -> list[float]:
    """Return what ended jobs have used in each account's window."""
    used = dict.fromkeys(accounts, 0.0)
    days = {window: window.days(now) for window in Window}
    for subject in Subject:
        own = [account for account in accounts if account.subject is subject]
        wanted = json.dumps([[each.id, *days[each.budget.window]] for each in own])
        for row in db.execute(USED[subject], {"wanted": wanted}).mappings() if own else ():
            used[own[row["n"]]] = row[own[row["n"]].unit]
    return list(used.values())


def _running(db: Connection) -> Mapping[tuple[Subject, Unit, str], float]:
    """Return what open attempts have used so far, by subject, unit and id."""
    at = {"boot": clock.boot(), "now": clock.now()}
    rows = [(subject, row) for subject in Subject for row in db.execute(RUNNING[subject], at).mappings()]
    return {(subject, unit, row["id"]): row[unit] for subject, row in rows for unit in Unit}


def _unfinished(db: Connection, subject: Subject, name: str) -> list[Mapping[Any, Any]]:
    """Return the sums of unfinished jobs, those without a price apart."""
    values = {"id": name, "boot": clock.boot(), "now": clock.now()}
    return list(db.execute(UNFINISHED[subject], values).mappings())


def _ids(accounts: Iterable[Account], subject: Subject, unit: Unit) -> str:
    return json.dumps([each.id for each in accounts if (each.subject, each.unit) == (subject, unit)])


def _name(account: Account) -> tuple[Subject, Unit, str]:
    return account.subject, account.unit, account.id


def _reasons(why: Mapping[tuple[Subject, Unit, str], tuple[int, str]], job: Mapping[Any, Any]) -> list[tuple[int, str]]:
    """Return the reasons that hold for a queued job."""
    units = Unit if job["priced"] else (Unit.GPU_SECONDS,)
    return [why[named] for subject in Subject for unit in units if (named := (subject, unit, job[str(subject)])) in why]
