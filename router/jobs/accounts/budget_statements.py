"""The statements of budgets: what callers have, have used, and have reserved."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Exists,
    FromClause,
    Select,
    String,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    union,
)  # fmt: skip

from router.accounting.budgets import Subject, Unit
from router.jobs.database.expressions import json_item, listed
from router.jobs.tables import api_keys, attempts, jobs, ledger, owners
from router.values import Outcome, Status


def _accounts_with(callers: FromClause) -> Select[Any]:
    """Return a statement of callers (owner, key) with their own budgets."""
    return (
        select(
            callers.c.owner,
            callers.c.key,
            func.coalesce(api_keys.c.name, callers.c.key).label("key_name"),
            *(owners.c[unit].label(f"owner_{unit}") for unit in Unit),
            *(api_keys.c[unit].label(f"key_{unit}") for unit in Unit),
        )
        .select_from(callers)
        .outerjoin(owners, owners.c.owner == callers.c.owner)
        .outerjoin(api_keys, api_keys.c.id == callers.c.key)
    )


def _has_budget(table: Table) -> Exists:
    return exists().where(or_(*(table.c[unit].is_not(None) for unit in Unit))).select_from(table)


ASKED = listed(bindparam("callers", type_=String), "asked")
WANTED = listed(bindparam("wanted", type_=String), "wanted")  # a place, an id, and the first and last day of its window
IS_QUEUED = jobs.c.status == Status.QUEUED
ONE = _accounts_with(
    select(bindparam("owner", type_=String).label("owner"), bindparam("key", type_=String).label("key")).subquery()
)
MANY = _accounts_with(
    select(json_item(ASKED.c.value, 0).label("owner"), json_item(ASKED.c.value, 1).label("key")).subquery()
)
QUEUED = _accounts_with(select(jobs.c.owner, jobs.c.key).where(IS_QUEUED).distinct().subquery())
ANY = select(or_(_has_budget(owners), _has_budget(api_keys)))
USED = {
    subject: select(
        json_item(WANTED.c.value, 0, BigInteger).label("n"), *(func.sum(ledger.c[unit]).label(unit) for unit in Unit)
    )
    .select_from(WANTED)
    .join(
        ledger,
        and_(
            ledger.c[subject] == json_item(WANTED.c.value, 1),
            ledger.c.day.between(json_item(WANTED.c.value, 2), json_item(WANTED.c.value, 3)),
            ledger.c.outcome.in_((Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED)),
        ),
    )
    .group_by(text("1"))
    for subject in Subject
}
BUSY = union(select(attempts.c.owner, attempts.c.key), select(jobs.c.owner, jobs.c.key).where(IS_QUEUED))
# `owner || ''`: by the index of queued jobs, as that of owners holds all their finished ones too
UNFINISHED = {
    subject: text(f"""
    SELECT price > 0 AS priced, count(*) AS jobs, sum(unknown) AS unknown, sum(seconds) AS gpu_seconds,
        sum(seconds * price) AS cost
    FROM (
        SELECT coalesce(price, 0) AS price, CASE WHEN estimate IS NULL AND boot = :boot THEN 1 ELSE 0 END AS unknown,
            CASE WHEN boot = :boot AND :now - began > coalesce(estimate, 0) THEN :now - began
                ELSE coalesce(estimate, 0) END AS seconds
        FROM attempts WHERE {subject} = :id
        UNION ALL
        SELECT coalesce(price, 0), CASE WHEN estimate IS NULL THEN 1 ELSE 0 END, coalesce(estimate, 0)
        FROM jobs WHERE status = 'queued' AND {"owner || ''" if subject is Subject.OWNER else "key"} = :id
    ) AS work
    GROUP BY price > 0
    """)
    for subject in Subject
}
RUNNING = {
    subject: text(f"""
    SELECT {subject} AS id, sum(:now - began) AS gpu_seconds, coalesce(sum((:now - began) * price), 0.0) AS cost
    FROM attempts WHERE boot = :boot AND began IS NOT NULL GROUP BY {subject}
    """)
    for subject in Subject
}


def _spent(subject: Subject, unit: Unit) -> ColumnElement[bool]:
    name = f"{subject}_{unit}"
    return jobs.c[subject].in_(select(listed(bindparam(name, type_=String), name).c.value))


IS_PRICED = func.coalesce(jobs.c.price, 0) > 0
HELD_BACK = select(jobs.c.seq, jobs.c.owner, jobs.c.key, IS_PRICED.label("priced")).where(
    IS_QUEUED,
    or_(
        *(_spent(subject, Unit.GPU_SECONDS) for subject in Subject),
        and_(IS_PRICED, or_(*(_spent(subject, Unit.COST) for subject in Subject))),
    ),
)
