"""Every change of a job as one prepared statement: what must hold, what becomes of the row, its new version."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Update,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from router.jobs.tables import changes, engines, jobs, keys, turns
from router.values import Status

NEXT = select(func.coalesce(func.max(changes.c.n), 0) + 1).scalar_subquery()  # the next change's number
NO_LEASE: dict[str, Any] = {"engine": None, "lease_boot": None, "lease_until": None}
UNFINISHED = (Status.QUEUED, Status.IN_PROGRESS)


def _param(name: str) -> Any:
    """Name a value that comes with the call; the underscore keeps it apart from the column of that name."""
    return bindparam(f"_{name}")


def _change(where: ColumnElement[bool], **values: Any) -> Update:
    return update(jobs).where(where).values(version=NEXT, **values).returning(jobs)


HELD = and_(
    jobs.c.id == _param("job"),
    jobs.c.status == Status.IN_PROGRESS,
    jobs.c.engine == _param("engine"),
    jobs.c.attempt == _param("attempt"),
)
MINE = and_(jobs.c.id == _param("job"), or_(_param("owner").is_(None), jobs.c.owner == _param("owner")))
LOST = and_(
    jobs.c.status == Status.IN_PROGRESS,
    or_(jobs.c.lease_boot != _param("boot"), jobs.c.lease_until < _param("now")),
)
THIS_LOST = and_(LOST, jobs.c.id == _param("job"))
WAITING = and_(jobs.c.status == Status.QUEUED, jobs.c.model.in_(bindparam("_models", expanding=True)))
FAILED = {"status": Status.FAILED, "failure": _param("failure"), "finished_at": _param("wall"), **NO_LEASE}
QUEUED = {"status": Status.QUEUED, "progress": None, **NO_LEASE}
CLAIMED = {
    "status": Status.IN_PROGRESS,
    "attempt": jobs.c.attempt + 1,
    "started_at": func.coalesce(jobs.c.started_at, _param("wall")),
    "progress": None,
    "engine": _param("engine"),
    "lease_boot": _param("boot"),
    "lease_until": _param("until"),
}

LOG = insert(changes)
ADD = insert(jobs).values(version=NEXT, lost=0).returning(jobs)
GET = select(jobs).where(MINE)
BEFORE = and_(
    jobs.c.status == Status.QUEUED,
    or_(jobs.c.priority > _param("priority"), and_(jobs.c.priority == _param("priority"), jobs.c.seq < _param("seq"))),
)
SECONDS = func.coalesce(func.sum(jobs.c.estimate), 0.0)
UNKNOWN = func.count().filter(jobs.c.estimate.is_(None))
AHEAD = select(func.count(), SECONDS, UNKNOWN).where(BEFORE)
_BEFORE_EACH: dict[str, Any] = {"order_by": [jobs.c.priority.desc(), jobs.c.seq], "rows": (None, -1)}
_QUEUE = (
    select(
        jobs.c.seq,
        func.count().over(**_BEFORE_EACH).label("jobs"),
        func.coalesce(func.sum(jobs.c.estimate).over(**_BEFORE_EACH), 0.0).label("seconds"),
        UNKNOWN.over(**_BEFORE_EACH).label("unknown"),
    )
    .where(jobs.c.status == Status.QUEUED)
    .subquery()
)
ALL_AHEAD = select(_QUEUE).where(_QUEUE.c.seq.in_(bindparam("_seqs", expanding=True)))
LEFT = func.coalesce(func.json_extract(jobs.c.progress, "$.remaining"), jobs.c.estimate)
ALIVE = select(func.count()).where(engines.c.boot == _param("boot"), engines.c.seen > _param("since"))
RUNNING_WORK = select(
    func.count().label("jobs"),
    func.coalesce(func.sum(LEFT), 0.0).label("seconds"),
    func.count().filter(LEFT.is_(None)).label("unknown"),
    ALIVE.scalar_subquery().label("engines"),
).where(jobs.c.status == Status.IN_PROGRESS)
PLACE = select(jobs.c.seq).where(MINE)
DELETED_PLACE = select(changes.c.seq).where(
    changes.c.job == _param("job"),
    changes.c.seq.is_not(None),
    or_(_param("owner").is_(None), changes.c.owner == _param("owner")),
)
ALL_NEWER = select(jobs).where(jobs.c.seq > _param("place")).order_by(jobs.c.seq).limit(_param("limit"))
ALL_OLDER = select(jobs).where(jobs.c.seq < _param("place")).order_by(jobs.c.seq.desc()).limit(_param("limit"))
NEWER = ALL_NEWER.where(jobs.c.owner == _param("owner"))
OLDER = ALL_OLDER.where(jobs.c.owner == _param("owner"))
COUNT_ALL = select(jobs.c.model, jobs.c.status, func.count()).group_by(jobs.c.status, jobs.c.model)
CANCEL = _change(
    and_(MINE, jobs.c.status.in_(UNFINISHED)), status=Status.CANCELLED, finished_at=_param("wall"), **NO_LEASE
)
DELETE = delete(jobs).where(MINE).returning(jobs)
NEWEST = select(func.coalesce(func.max(changes.c.n), 0))

KEYED = (
    select(jobs, keys.c.request)
    .join(keys, keys.c.job == jobs.c.id)
    .where(keys.c.owner == _param("owner"), keys.c.key == _param("key"), keys.c.created_at > _param("since"))
)
KEEP_KEY = insert(keys).prefix_with("OR REPLACE")
PRUNE_KEYS = delete(keys).where(keys.c.created_at <= _param("since"))

ANY = select(jobs.c.seq).where(WAITING).limit(1)
HEADS = text(
    """
    WITH busy AS (  -- keys that run as many jobs as they may
        SELECT key FROM jobs JOIN api_keys ON api_keys.id = jobs.key WHERE jobs.status = 'in_progress'
        GROUP BY key HAVING count(*) >= coalesce(api_keys.running, :key_running)
    )
    SELECT head.seq, head.model, head.priority, head.overtaken_at,
        (SELECT min(due) FROM jobs WHERE status = 'queued' AND model = head.model AND priority = head.priority) AS due
    FROM json_each(:models) AS offered JOIN jobs AS head ON head.seq = (
        SELECT seq FROM jobs
        WHERE status = 'queued' AND model = offered.value AND (key IS NULL OR key NOT IN (SELECT key FROM busy))
        ORDER BY priority DESC, seq LIMIT 1
    )
    """
)
TURN = select(turns.c.n)
NEXT_TURN = update(turns).values(n=turns.c.n + 1)
OVERTAKEN = (
    update(jobs)
    .where(jobs.c.seq.in_(bindparam("_seqs", expanding=True)), jobs.c.overtaken_at.is_(None))
    .values(overtaken_at=_param("now"))
)
RUNNING = select(jobs.c.engine, jobs.c.model).where(jobs.c.status == Status.IN_PROGRESS)
RESIDENT = select(engines.c.id, engines.c.resident).where(
    engines.c.boot == _param("boot"), engines.c.seen > _param("since")
)
CLAIM = _change(jobs.c.seq == _param("seq"), **CLAIMED)
CLAIM_ONE = _change(and_(WAITING, jobs.c.id == _param("job")), **CLAIMED)
HOLDS = select(jobs.c.seq).where(HELD)
RENEW = update(jobs).where(HELD).values(lease_until=_param("until"), lease_boot=_param("boot")).returning(jobs.c.seq)
REPORT = update(jobs).where(HELD).values(version=NEXT, progress=_param("progress")).returning(jobs.c.version)
FINISH = _change(
    HELD,
    status=Status.COMPLETED,
    artifact=_param("artifact"),
    warnings=_param("warnings"),
    finished_at=_param("wall"),
    **NO_LEASE,
)
FAIL = _change(HELD, **FAILED)
RELEASE = _change(HELD, **QUEUED)
FIND_LOST = select(jobs.c.id, jobs.c.lost).where(LOST)
REQUEUE_LOST = _change(THIS_LOST, lost=jobs.c.lost + 1, **QUEUED)
FAIL_LOST = _change(THIS_LOST, **FAILED)
FIND_STRANDED = select(jobs.c.id).where(
    jobs.c.status == Status.QUEUED, jobs.c.model.not_in(bindparam("_models", expanding=True))
)
UNFINISHED_MODELS = (
    select(jobs.c.model, jobs.c.revision)
    .where(jobs.c.status.in_(UNFINISHED))
    .distinct()
    .order_by(jobs.c.model, jobs.c.revision)
)
FAIL_STRANDED = _change(and_(jobs.c.id == _param("job"), jobs.c.status == Status.QUEUED), **FAILED)
INHERIT = (
    update(jobs)
    .where(
        jobs.c.status == Status.IN_PROGRESS,
        jobs.c.engine.in_(select(engines.c.id).where(engines.c.device == _param("device"))),
    )
    .values(lease_until=0.0)
    .returning(jobs.c.id, jobs.c.lost)
)
PRUNE = delete(changes).where(changes.c.n < select(func.max(changes.c.n) - _param("kept")).scalar_subquery())
