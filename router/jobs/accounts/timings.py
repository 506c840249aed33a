"""Measured seconds of jobs and loads by kind of device, and estimates from them."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median_low
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Table, bindparam, delete, func, select

from registry import ModelSpec, Size
from router.accounting.estimates import KnownSize, Measurement, estimate, fitted, mean, typical
from router.accounting.features import Variant, mode_of
from router.jobs.database import Database
from router.jobs.database.expressions import insert_or_update
from router.jobs.rows import dump
from router.jobs.tables import job_timings as jobs
from router.jobs.tables import load_timings as loads
from router.values import Estimate, EstimateBasis, Expected, Origin, Task, WorkSeconds

RECENT = 9  # measurements that count, of a size or of a load
SIZES = 100  # that are kept of a model on a kind of device: those of the newest jobs
DIGITS = 6  # of a second
KEY = ("model", "variant", "mode", "width", "height", "frames")
KINDS = select(jobs.c.kind).distinct()
OF_KINDS = select(jobs).where(jobs.c.kind.in_(bindparam("kinds", expanding=True)))
ANY_MODEL = OF_KINDS.order_by(jobs.c.number.desc()).limit(SIZES)
SAME_MODEL = OF_KINDS.where(jobs.c.model == bindparam("model")).order_by(jobs.c.number.desc())
SAME_SIZE = OF_KINDS.where(*(jobs.c[name] == bindparam(name) for name in KEY))


class TimingStore:
    """Written by the engines, read for estimates."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def estimate(self, model: ModelSpec, task: Task, kinds: Collection[str] = ()) -> Estimate | None:
        """Return the expected seconds, the mean over `kinds` of devices; None before any job.

        Without kinds, over all that have run jobs. Those of a new size follow from other sizes, those of a new model
        from other models.
        """
        with self._db.read() as db:
            wanted = set(kinds or db.scalars(KINDS))
            key = _key(model, task)
            found: dict[str, Estimate | None] = {}
            for statement in (SAME_SIZE, SAME_MODEL):
                if missing := wanted - found.keys():
                    known = _sizes(db.execute(statement, {**key, "kinds": list(missing)}))
                    found |= {kind: estimate(model, task, sizes) for (_, kind), sizes in known.items()}
            for kind in wanted - found.keys():
                known = _sizes(db.execute(ANY_MODEL, {"kinds": [kind]}))
                others = [each for sizes in known.values() for each in sizes]
                found[kind] = fitted(model, task, others, EstimateBasis.BORROWED) if others else None
        return mean([each for each in found.values() if each is not None])

    def learn(self, kind: str, model: ModelSpec, task: Task, seconds: WorkSeconds, *, is_split: bool = True) -> None:
        """Add the seconds of a completed job.

        `is_split` says that its text was told from its steps. The first such job of a size replaces those before.
        """
        measured = [round(each, DIGITS) for each in Measurement.of(seconds, task.steps)]
        of = jobs.c.kind == kind, jobs.c.model == model.name
        newest = select(jobs.c.number).where(*of).order_by(jobs.c.number.desc())
        next_number = select(func.coalesce(func.max(jobs.c.number), 0) + 1).where(jobs.c.kind == kind)
        key = {"kind": kind, **_key(model, task)}
        with self._db.write(durable=False) as db:
            known = db.execute(select(jobs).where(*_is(jobs, key))).mappings().first()
            former = known if known and (known["is_split"] or not is_split) else None
            split = bool(former["is_split"]) if former else is_split
            _add(db, jobs, key, former, measured, is_split=split, number=db.scalar(next_number))
            if (oldest := db.scalar(newest.offset(SIZES).limit(1))) is not None:
                db.execute(delete(jobs).where(*of, jobs.c.number <= oldest))

    def load_seconds(self, model: ModelSpec, kind: str, origin: Origin) -> float | None:
        """Return the seconds of a load, None if unknown.

        A warm load that was not measured is expected to take as long as a cold one; a warm one says little of a cold
        one.
        """
        rows = self._db.rows(select(loads).where(loads.c.kind == kind, loads.c.model == model.name))
        return _load_seconds(rows, model, origin)

    def learn_load(self, kind: str, model: ModelSpec, origin: Origin, seconds: float) -> None:
        """Add the seconds of a load, without a download."""
        names = {"kind": kind, "model": model.name, "variant": str(Variant.of(model)), "origin": origin}
        with self._db.write(durable=False) as db:
            former = db.execute(select(loads).where(*_is(loads, names))).mappings().first()
            _add(db, loads, names, former, round(seconds, DIGITS))

    def expected(self, tasks: Sequence[tuple[ModelSpec, Task]]) -> Mapping[str, tuple[Expected, ...]]:
        """Return what is known of models by name, for one task of each."""
        names = [model.name for model, _ in tasks]
        with self._db.read() as db:
            sizes = _sizes(db.execute(select(jobs).where(jobs.c.model.in_(names))))
            loaded = defaultdict[tuple[str, str], list[RowMapping]](list)
            for row in db.execute(select(loads).where(loads.c.model.in_(names))).mappings():
                loaded[row["model"], row["kind"]].append(row)
        keys = sorted({*sizes, *loaded})
        return {
            model.name: tuple(
                Expected(
                    kind,
                    estimate(model, task, sizes.get((name, kind), ())),
                    _load_seconds(loaded[name, kind], model, Origin.COLD),
                    _load_seconds(loaded[name, kind], model, Origin.WARM),
                )
                for name, kind in keys
                if name == model.name
            )
            for model, task in tasks
        }


def _key(model: ModelSpec, task: Task) -> dict[str, Any]:
    """Return the key of a task's timings on any kind of device."""
    size = {"width": task.width, "height": task.height, "frames": task.num_frames}
    return {"model": model.name, "variant": str(Variant.of(model)), "mode": mode_of(task), **size}


def _is(table: Table, key: Mapping[str, Any]) -> Sequence[ColumnElement[bool]]:
    return [table.c[name] == each for name, each in key.items()]


def _sizes(rows: Iterable[Row[Any]]) -> Mapping[tuple[str, str], Sequence[KnownSize]]:
    """Return the measured sizes by model and kind."""
    found = defaultdict[tuple[str, str], list[KnownSize]](list)
    for row in rows:
        size = Size(row.width, row.height, row.frames)
        seconds = typical(json.loads(row.recent))
        found[row.model, row.kind].append(KnownSize(Variant.parse(row.variant), row.mode, size, seconds))
    return found


def _load_seconds(rows: Iterable[RowMapping], model: ModelSpec, origin: Origin) -> float | None:
    """Return the median of a model's loads, or of those of former variants."""
    rows, variant = list(rows), str(Variant.of(model))
    for each in (Origin.WARM, Origin.COLD) if origin is Origin.WARM else (Origin.COLD,):
        same = [row for row in rows if row["origin"] == each]
        if same := [row for row in same if row["variant"] == variant] or same:
            return float(median_low(json.loads(same[-1]["recent"])))
    return None


def _add(
    db: Connection, table: Table, key: Mapping[str, Any], former: RowMapping | None, measured: Any, **others: Any
) -> None:
    """Add a measurement to the newest ones of a row."""
    recent = json.loads(former["recent"]) if former else []
    row = {"recent": dump([*recent, measured][-RECENT:]), **others}
    db.execute(insert_or_update(table, key, row))
