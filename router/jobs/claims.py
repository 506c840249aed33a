"""The next job of an engine, chosen inside the transaction of the claim."""

import json
from collections.abc import Collection

from sqlalchemy import Connection, text

from router.jobs.scheduling import ClaimRequest, QueuedJob, SchedulingPolicy, choose
from router.runtime import clock

HEADS = text("""
    WITH busy AS (  -- keys at their limit of running jobs
        SELECT key FROM jobs JOIN api_keys ON api_keys.id = jobs.key WHERE jobs.status = 'in_progress'
        GROUP BY key HAVING count(*) >= coalesce(api_keys.running, :key_running)
    )
    SELECT head.seq, head.model, head.priority, head.due_at
    FROM json_each(:models) AS offered JOIN jobs AS head ON head.seq = (
        SELECT seq FROM jobs
        WHERE status = 'queued' AND model = offered.value AND (key IS NULL OR key NOT IN (SELECT key FROM busy))
            AND seq NOT IN (SELECT value FROM json_each(:held_back))
        ORDER BY priority DESC, due_at, seq LIMIT 1
    )
""")
RUNNING = text("SELECT engine, model FROM jobs WHERE status = 'in_progress'")
# what a draining engine has loaded keeps no other from loading it: its jobs would wait for as long as it drains
RESIDENT = text("SELECT id, resident FROM engines WHERE boot = :boot AND seen > :since AND NOT draining")
DRAINING = text("SELECT draining FROM engines WHERE id = :engine")


def take_next(
    db: Connection,
    engine: str,
    request: ClaimRequest,
    policy: SchedulingPolicy,
    seen_since: float,
    held_back: Collection[int] = (),
) -> int | None:
    """Return the row number of `engine`'s next job; the rows `held_back` wait."""
    full = _at_engine_limit(db, engine, request, seen_since)
    models = json.dumps([model for model in request.models if model not in full])
    waiting = {"models": models, "key_running": policy.key_running, "held_back": json.dumps(list(held_back))}
    heads = [QueuedJob(*row) for row in db.execute(HEADS, waiting)]
    return choose(heads, request.switch, policy.overtake_seconds).seq if heads else None


def is_draining(db: Connection, engine: str) -> bool:
    """Return whether an engine may claim no more jobs, not even a certain one."""
    return bool(db.scalar(DRAINING, {"engine": engine}))


def _at_engine_limit(db: Connection, engine: str, request: ClaimRequest, seen_since: float) -> set[str]:
    """Return the models that have reached their limit of engines, not counting `engine`."""
    if not request.most:
        return set()
    holders: dict[str, set[str]] = {model: {engine} if model in request.loaded else set() for model in request.most}
    for row in db.execute(RUNNING).mappings():
        holders.get(row["model"], set()).add(row["engine"])
    for row in db.execute(RESIDENT, {"boot": clock.boot(), "since": seen_since}).mappings():
        for model in json.loads(row["resident"]):
            holders.get(model, set()).add(row["id"])
    return {model for model, most in request.most.items() if not _may_hold(engine, holders[model], most)}


def _may_hold(engine: str, holders: set[str], most: int) -> bool:
    # engines that loaded a model before they knew of each other: the first by name keep it
    return engine in sorted(holders)[:most] if engine in holders else len(holders) < most
