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
    update,
)

from router.jobs.tables import changes, engines, jobs, keys
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
MINE = and_(jobs.c.id == _param("job"), jobs.c.owner == _param("owner"))
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
AHEAD = select(func.count()).where(jobs.c.status == Status.QUEUED, jobs.c.seq < _param("seq"))
PLACE = select(jobs.c.seq).where(MINE)
DELETED_PLACE = select(changes.c.seq).where(changes.c.job == _param("job"), changes.c.seq.is_not(None))
PAGE = select(jobs).where(jobs.c.owner == _param("owner")).limit(_param("limit"))
NEWER = PAGE.where(jobs.c.seq > _param("place")).order_by(jobs.c.seq)
OLDER = PAGE.where(jobs.c.seq < _param("place")).order_by(jobs.c.seq.desc())
COUNT_QUEUED = select(func.count()).where(jobs.c.status == Status.QUEUED)
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

OLDEST = select(jobs.c.seq).where(WAITING).order_by(jobs.c.seq).limit(1)
CLAIM = _change(jobs.c.seq == OLDEST.scalar_subquery(), **CLAIMED)
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
FAIL_STRANDED = _change(and_(jobs.c.id == _param("job"), jobs.c.status == Status.QUEUED), **FAILED)
INHERIT = (
    update(jobs)
    .where(
        jobs.c.status == Status.IN_PROGRESS,
        jobs.c.engine.in_(select(engines.c.id).where(engines.c.device == _param("device"))),
    )
    .values(lease_until=0.0)
)
PRUNE = delete(changes).where(changes.c.n < select(func.max(changes.c.n) - _param("kept")).scalar_subquery())
