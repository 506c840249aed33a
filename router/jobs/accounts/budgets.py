"""What is used and reserved of the budgets in the store."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from router.accounting.budgets import Account, Balance, Budgets, Need, Subject, Unit, Window
from router.accounting.refusals import hold, refusal
from router.errors import QuotaExceeded
from router.jobs.accounts import budget_statements as sql
from router.jobs.accounts.owners import budget_of
from router.jobs.database import Database, Instant

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
        for balance in _balances(db, accounts, now, self._db.instant(db)):
            if not balance.covers(need):
                raise QuotaExceeded(refusal(balance, need, now))

    def balances(self, owner: str, key: str | None) -> tuple[Balance, ...]:
        """Return the state of every budget of an owner and a key."""
        with self._db.read() as db:
            accounts = self._accounts_of(db, owner, key)
            return tuple(_balances(db, accounts, self._now(), self._db.instant(db)))

    def all_balances(self, callers: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[Balance, ...]]:
        """Return the same of many owners with their keys at once."""
        with self._db.read() as db:
            if not self._has_any(db):
                return {}
            known = db.execute(sql.MANY, {"callers": json.dumps(list(callers))}).mappings().all()
            accounts = {(row["owner"], row["key"]): tuple(self._accounts(row)) for row in known}
            busy = {(subject, row[subject]) for row in db.execute(sql.BUSY).mappings() for subject in Subject}
            every = dict.fromkeys(account for own in accounts.values() for account in own)
            found = {each.account: each for each in _balances(db, every, self._now(), self._db.instant(db), busy)}
        return {caller: tuple(found[account] for account in own) for caller, own in accounts.items()}

    def held_back(self, db: Connection) -> Mapping[int, str]:
        """Return the queued jobs of spent budgets: why each waits, by row number."""
        # estimates are wrong at times: what runs may overdraw a budget, and then nothing more starts until the next
        # window or a higher budget
        if not self._has_any(db):
            return {}
        now = self._now()
        callers = db.execute(sql.QUEUED).mappings().all()
        accounts = list(dict.fromkeys(account for row in callers for account in self._accounts(row)))
        running = _running(db, self._db.instant(db))
        sums = zip(accounts, _used(db, accounts, now), strict=True)
        spent = [account for account, used in sums if account.spent(used + running.get(_name(account), 0.0))]
        if not spent:
            return {}
        spent.sort(key=lambda account: account.budget.window.ends(now))  # the last one decides
        ids = {f"{subject}_{unit}": _ids(spent, subject, unit) for subject in Subject for unit in Unit}
        why = {_name(account): (n, hold(account, now)) for n, account in enumerate(spent)}
        return {row["seq"]: max(_reasons(why, row))[1] for row in db.execute(sql.HELD_BACK, ids).mappings()}

    def _has_any(self, db: Connection) -> bool:
        return set(self._defaults.values()) != {NO_BUDGETS} or bool(db.scalar(sql.ANY))

    def _accounts_of(self, db: Connection, owner: str, key: str | None) -> list[Account]:
        return list(self._accounts(db.execute(sql.ONE, {"owner": owner, "key": key}).mappings().one()))

    def _accounts(self, caller: Mapping[Any, Any]) -> Iterator[Account]:
        """Yield the accounts of an owner and its key, from a row of callers."""
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
    this: Instant,
    busy: Collection[tuple[Subject, str]] | None = None,
) -> Iterator[Balance]:
    """Yield the balances of accounts; `busy` are the subjects with unfinished jobs."""
    # used before unfinished: a job that ends between the two, outside a transaction, is counted once at most
    used = _used(db, accounts, now)
    ids = {(account.subject, account.id) for account in accounts}
    unfinished = {each: _unfinished(db, this, *each) if busy is None or each in busy else [] for each in ids}
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
        wanted = json.dumps([[n, each.id, *days[each.budget.window]] for n, each in enumerate(own)])
        for row in db.execute(sql.USED[subject], {"wanted": wanted}).mappings() if own else ():
            used[own[row["n"]]] = row[own[row["n"]].unit]
    return list(used.values())


def _running(db: Connection, this: Instant) -> Mapping[tuple[Subject, Unit, str], float]:
    """Return what open attempts have used so far, by subject, unit and id."""
    at = {"boot": this.boot, "now": this.now}
    rows = [(subject, row) for subject in Subject for row in db.execute(sql.RUNNING[subject], at).mappings()]
    return {(subject, unit, row["id"]): row[unit] for subject, row in rows for unit in Unit}


def _unfinished(db: Connection, this: Instant, subject: Subject, name: str) -> list[Mapping[Any, Any]]:
    """Return the sums of unfinished jobs, those without a price apart."""
    values = {"id": name, "boot": this.boot, "now": this.now}
    return list(db.execute(sql.UNFINISHED[subject], values).mappings())


def _ids(accounts: Iterable[Account], subject: Subject, unit: Unit) -> str:
    return json.dumps([each.id for each in accounts if (each.subject, each.unit) == (subject, unit)])


def _name(account: Account) -> tuple[Subject, Unit, str]:
    return account.subject, account.unit, account.id


def _reasons(why: Mapping[tuple[Subject, Unit, str], tuple[int, str]], job: Mapping[Any, Any]) -> list[tuple[int, str]]:
    """Return the reasons that hold for a queued job."""
    units = Unit if job["priced"] else (Unit.GPU_SECONDS,)
    return [why[named] for subject in Subject for unit in units if (named := (subject, unit, job[str(subject)])) in why]
