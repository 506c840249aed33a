"""The next job of an engine, chosen inside the transaction of the claim."""

import json
from collections.abc import Collection

from sqlalchemy import BigInteger, Connection, Integer, String, bindparam, cast, func, or_, select, text

from router.jobs.database import Instant
from router.jobs.database.expressions import listed
from router.jobs.scheduling import ClaimRequest, QueuedJob, SchedulingPolicy, choose
from router.jobs.tables import api_keys, jobs
from router.values import Status

BUSY = (  # keys at their limit of running jobs
    select(jobs.c.key)
    .join(api_keys, api_keys.c.id == jobs.c.key)
    .where(jobs.c.status == Status.IN_PROGRESS)
    .group_by(jobs.c.key, api_keys.c.running)
    .having(func.count() >= func.coalesce(api_keys.c.running, bindparam("key_running", type_=Integer)))
    .cte("busy")
)
OFFERED = listed(bindparam("models", type_=String), "offered")
HELD_BACK = listed(bindparam("held_back", type_=String), "held_back")
QUEUED = jobs.alias("queued")
HEAD = (
    select(QUEUED.c.seq)
    .where(
        QUEUED.c.status == Status.QUEUED,
        QUEUED.c.model == OFFERED.c.value,
        or_(QUEUED.c.key.is_(None), QUEUED.c.key.not_in(select(BUSY.c.key))),
        QUEUED.c.seq.not_in(select(cast(HELD_BACK.c.value, BigInteger))),
    )
    .order_by(QUEUED.c.priority.desc(), QUEUED.c.due_at, QUEUED.c.seq)
    .limit(1)
    .correlate(OFFERED)
    .scalar_subquery()
)
HEADS = (
    select(jobs.c.seq, jobs.c.model, jobs.c.priority, jobs.c.due_at).select_from(OFFERED).join(jobs, jobs.c.seq == HEAD)
)
RUNNING = text("SELECT engine, model FROM jobs WHERE status = 'in_progress'")
# what a draining engine has loaded keeps no other from loading it: its jobs would wait for as long as it drains
RESIDENT = text("SELECT id, resident FROM engines WHERE boot = :boot AND seen > :since AND NOT draining")


def take_next(
    db: Connection,
    engine: str,
    request: ClaimRequest,
    policy: SchedulingPolicy,
    seen_since: Instant,
    held_back: Collection[int] = (),
) -> int | None:
    """Return the row number of `engine`'s next job; the rows `held_back` wait."""
    full = _at_engine_limit(db, engine, request, seen_since)
    models = json.dumps([model for model in request.models if model not in full])
    waiting = {"models": models, "key_running": policy.key_running, "held_back": json.dumps(list(held_back))}
    heads = [QueuedJob(*row) for row in db.execute(HEADS, waiting)]
    return choose(heads, request.switch, policy.overtake_seconds).seq if heads else None


def _at_engine_limit(db: Connection, engine: str, request: ClaimRequest, seen_since: Instant) -> set[str]:
    """Return the models that have reached their limit of engines, not counting `engine`."""
    if not request.most:
        return set()
    holders: dict[str, set[str]] = {model: {engine} if model in request.loaded else set() for model in request.most}
    for row in db.execute(RUNNING).mappings():
        holders.get(row["model"], set()).add(row["engine"])
    for row in db.execute(RESIDENT, {"boot": seen_since.boot, "since": seen_since.now}).mappings():
        for model in json.loads(row["resident"]):
            holders.get(model, set()).add(row["id"])
    return {model for model, most in request.most.items() if not _may_hold(engine, holders[model], most)}


def _may_hold(engine: str, holders: set[str], most: int) -> bool:
    # engines that loaded a model before they knew of each other: the first by name keep it
    return engine in sorted(holders)[:most] if engine in holders else len(holders) < most
