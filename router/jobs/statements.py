"""Every change of a job as one prepared statement."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)  # fmt: skip
from sqlalchemy.types import TypeEngine

from router.jobs.database.expressions import insert as keeping_insert
from router.jobs.job_filter import JobFilter
from router.jobs.rows import dump
from router.jobs.tables import changes, engines, jobs, keys
from router.values import Status, Usage

NEXT = select(func.coalesce(func.max(changes.c.n), 0) + 1).scalar_subquery()  # the next change's number
NO_LEASE: dict[str, Any] = {"engine": None, "lease_boot": None, "lease_until": None}
UNFINISHED = (Status.QUEUED, Status.IN_PROGRESS)


def param(name: str, kind: type[TypeEngine[Any]] | None = None) -> Any:
    """Return a bound parameter; its underscore keeps it apart from the column."""
    return bindparam(f"_{name}", type_=kind)


def page(owner: str | None, newest_first: bool, shown: JobFilter) -> Select[Any]:
    """Return the statement of a page that starts behind row `_seq`."""
    seq = jobs.c.seq
    behind, order = (seq < param("seq"), seq.desc()) if newest_first else (seq > param("seq"), seq.asc())
    whose = () if owner is None else (jobs.c.owner == owner,)
    return select(jobs).where(behind, *whose, *shown.conditions()).order_by(order).limit(param("limit"))


def _change(where: ColumnElement[bool], **values: Any) -> Update:
    return update(jobs).where(where).values(version=NEXT, **values).returning(jobs)


HELD = and_(
    jobs.c.id == param("job"),
    jobs.c.status == Status.IN_PROGRESS,
    jobs.c.engine == param("engine"),
    jobs.c.attempt == param("attempt"),
)
MINE = and_(jobs.c.id == param("job"), or_(param("owner", String).is_(None), jobs.c.owner == param("owner")))
LOST = and_(
    jobs.c.status == Status.IN_PROGRESS, or_(jobs.c.lease_boot != param("boot"), jobs.c.lease_until < param("now"))
)
THIS_LOST = and_(  # its lease is as it was found
    jobs.c.id == param("job"),
    jobs.c.status == Status.IN_PROGRESS,
    jobs.c.attempt == param("attempt"),
    jobs.c.lease_until == param("until"),
)
# of an engine that drains nothing is claimed, not even a certain job
CLAIMS = ~exists().where(engines.c.id == param("engine"), engines.c.draining)
WAITING = and_(jobs.c.status == Status.QUEUED, jobs.c.model.in_(bindparam("_models", expanding=True)))
UNUSED = dump(Usage())
FAILED: dict[str, Any] = {
    "status": Status.FAILED,
    "failure": param("failure"),
    "finished_at": param("wall"),
    **NO_LEASE,
}
QUEUED = {"status": Status.QUEUED, "progress": None, **NO_LEASE}
CLAIMED = {
    "status": Status.IN_PROGRESS,
    "attempt": jobs.c.attempt + 1,
    "started_at": func.coalesce(jobs.c.started_at, param("wall")),
    "progress": None,
    "engine": param("engine"),
    "lease_boot": param("boot"),
    "lease_until": param("until"),
}

LOG = insert(changes)
MEAN_ESTIMATE = select(func.avg(jobs.c.estimate)).where(jobs.c.status == Status.QUEUED)
ADD = insert(jobs).values(version=NEXT, lost=0).returning(jobs)
GET = select(jobs).where(MINE)
SEQ = select(jobs.c.seq).where(MINE)
DELETED_SEQ = select(changes.c.seq).where(
    changes.c.job == param("job"),
    changes.c.seq.is_not(None),
    or_(param("owner", String).is_(None), changes.c.owner == param("owner")),
)
COUNT_ALL = select(jobs.c.model, jobs.c.status, func.count()).group_by(jobs.c.status, jobs.c.model)
CANCEL = _change(
    and_(MINE, jobs.c.status.in_(UNFINISHED)),
    status=Status.CANCELLED,
    finished_at=param("wall"),
    usage=case((jobs.c.status == Status.QUEUED, UNUSED)),  # that of a running job is its engine's to know
    **NO_LEASE,
)
DELETE = delete(jobs).where(MINE).returning(jobs)
NEWEST = select(func.coalesce(func.max(changes.c.n), 0))
CHANGES = select(changes.c.n, changes.c.job).where(changes.c.n > param("since"))

KEYED = (
    select(jobs, keys.c.request)
    .join(keys, keys.c.job == jobs.c.id)
    .where(keys.c.owner == param("owner"), keys.c.key == param("key"), keys.c.created_at > param("since"))
)
KEPT = keeping_insert(keys)
KEEP_KEY = KEPT.on_conflict_do_update(
    index_elements=list(keys.primary_key), set_={name: KEPT.excluded[name] for name in ("request", "job", "created_at")}
)
PRUNE_KEYS = delete(keys).where(keys.c.created_at <= param("since"))

ANY = select(jobs.c.seq).where(WAITING, CLAIMS).limit(1)
UNESTIMATED = and_(jobs.c.status == Status.QUEUED, jobs.c.estimate.is_(None))
FIND_UNESTIMATED = select(jobs).where(UNESTIMATED)
ESTIMATE = (
    update(jobs)
    .where(UNESTIMATED, jobs.c.id == param("job"))
    .values(estimate=param("estimate"), due_at=jobs.c.arrived_at + param("allowance"))
)
CLAIM = _change(and_(jobs.c.seq == param("seq"), jobs.c.status == Status.QUEUED, CLAIMS), **CLAIMED)
CLAIM_ONE = _change(and_(WAITING, CLAIMS, jobs.c.id == param("job")), **CLAIMED)
HOLDS = select(jobs.c.seq).where(HELD)
RENEW = update(jobs).where(HELD).values(lease_until=param("until"), lease_boot=param("boot")).returning(jobs.c.seq)
REPORT = update(jobs).where(HELD).values(version=NEXT, progress=param("progress")).returning(jobs.c.version)
FINISH = _change(
    HELD,
    status=Status.COMPLETED,
    artifact=param("artifact"),
    warnings=param("warnings"),
    finished_at=param("wall"),
    usage=param("usage"),
    **NO_LEASE,
)
FAIL = _change(HELD, usage=param("usage"), cause=param("cause"), **FAILED)
RELEASE = _change(HELD, **QUEUED)
LEASED = select(jobs.c.id, jobs.c.attempt, jobs.c.lost, jobs.c.lease_until)
FIND_LOST = LEASED.where(LOST)
FIND_INHERITED = LEASED.where(
    jobs.c.status == Status.IN_PROGRESS,
    jobs.c.engine.in_(
        select(engines.c.id).where(engines.c.device == param("device"), engines.c.lock_domain == param("lock_domain"))
    ),
)
REQUEUE_LOST = _change(THIS_LOST, lost=jobs.c.lost + 1, **QUEUED)
FAIL_LOST = _change(THIS_LOST, usage=UNUSED, **FAILED)
FIND_STRANDED = select(jobs.c.id).where(
    jobs.c.status == Status.QUEUED, jobs.c.model.not_in(bindparam("_models", expanding=True))
)
UNFINISHED_MODELS = (
    select(jobs.c.model, jobs.c.revision)
    .where(jobs.c.status.in_(UNFINISHED))
    .distinct()
    .order_by(jobs.c.model, jobs.c.revision.nulls_first())
)
FAIL_STRANDED = _change(and_(jobs.c.id == param("job"), jobs.c.status == Status.QUEUED), usage=UNUSED, **FAILED)
PRUNE = delete(changes).where(changes.c.n < select(func.max(changes.c.n) - param("kept")).scalar_subquery())
