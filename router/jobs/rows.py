"""Conversion of jobs and engines to rows and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from registry import Input
from router import values

PIXELS = ("image", "last_image")
CONVERTED = ("input_kinds", "adapters")
IN_ALL = ""  # beside the names of models: older versions skip it
INPUT_KINDS = "given"  # the field's name in rows: they stay readable for older versions too
# columns that hold a field of the same name as it is: of a new job, and those that the store fills in later
NEW = (
    "id", "owner", "model", "attempt", "request_id", "created_at", "priority", "estimate", "key", "revision", "price",
)  # fmt: skip
LATER = ("started_at", "finished_at", "version", "cause")


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=asdict)


def dump_task(task: values.Task) -> str:
    plain = {f.name: getattr(task, f.name) for f in fields(values.Task) if f.name not in (*PIXELS, *CONVERTED)}
    # left out where there are none: older versions know no adapters, and can still read the row
    adapters = {"adapters": task.adapters} if task.adapters else {}
    return dump({**plain, **adapters, INPUT_KINDS: sorted(task.input_kinds)})


def job_row(job: values.Job) -> dict[str, Any]:
    """Return the columns of a new job."""
    return {
        **{name: getattr(job, name) for name in NEW},
        "status": job.status,
        "task": dump_task(job.task),
        "inputs": dump(job.inputs),
        "form": dump(job.presentation.as_row()),
        "warnings": dump(job.warnings),
        "numerics": dump(job.numerics) if job.numerics else None,
        "searched": job.task.prompt.casefold(),
    }


def job_of(row: Mapping[Any, Any], ahead: int | None = None, remaining: float | None = None) -> values.Job:
    """Return the job of a row, with position and remaining seconds if queued."""
    progress = progress_of(row["progress"])
    return values.Job(
        **{name: row[name] for name in (*NEW, *LATER)},
        task=_task(json.loads(row["task"])),
        inputs=tuple(_input(stored) for stored in json.loads(row["inputs"])),
        presentation=values.Presentation.from_row(json.loads(row["form"])),
        status=values.Status(row["status"]),
        progress=progress,
        warnings=tuple(json.loads(row["warnings"])),
        artifact=values.Artifact(**json.loads(row["artifact"])) if row["artifact"] else None,
        failure=values.Failure(**json.loads(row["failure"])) if row["failure"] else None,
        numerics=_numerics(json.loads(row["numerics"])) if row["numerics"] else None,
        usage=values.Usage(**json.loads(row["usage"])) if row["usage"] else None,
        ahead=ahead,
        remaining=progress.remaining if progress else remaining,
    )


def engine_of(row: Mapping[Any, Any], age: float) -> values.EngineState:
    memory, paths = json.loads(row["memory"]), json.loads(row["paths"])
    names: dict[str, Any] = {name: tuple(json.loads(row[name])) for name in ("models", "resident", "warm")}
    return values.EngineState(
        **{name: row[name] for name in ("id", "device", "pid", "job", "kind", "draining", "lock_domain")},
        **names,
        age=age,
        memory={name: values.ResidentBytes(**held) for name, held in memory.items() if "owned" in held},
        too_large={name: values.Need(**need) for name, need in memory.items() if "needed" in need},
        paths={name: {part: values.PartPath(**path) for part, path in of.items()} for name, of in paths.items()},
        lacks=json.loads(row["lacks"]),
        loads=json.loads(row["loads"]),
        use=values.MemoryUse(**memory.get(IN_ALL, {})),
    )


def _input(plain: dict[str, Any]) -> values.StoredInput:
    return values.StoredInput(**{**plain, "role": Input(plain["role"]), "notes": tuple(plain.get("notes", ()))})


def _task(plain: dict[str, Any]) -> values.Task:
    kinds = frozenset(map(Input, plain.pop(INPUT_KINDS)))
    adapters = tuple(values.UsedAdapter(**used) for used in plain.pop("adapters", ()))
    return values.Task(input_kinds=kinds, adapters=adapters, **plain)


def _numerics(plain: dict[str, Any]) -> values.Numerics:
    return values.Numerics(plain["reproducible"], tuple(plain["lossy"]), tuple(plain["may_vary_with"]))


def progress_of(text: str | None) -> values.Progress | None:
    if not text:
        return None
    plain = json.loads(text)
    return values.Progress(**{**plain, "phase": values.Phase(plain["phase"])})
