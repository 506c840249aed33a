"""Conversion of jobs and engines to rows and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from registry import Input
from router.values import (
    Artifact,
    EngineState,
    Failure,
    Job,
    Need,
    PartPath,
    Phase,
    Presentation,
    Progress,
    ResidentBytes,
    Status,
    StoredInput,
    Task,
)

PIXELS = ("image", "last_image")
INPUT_KINDS = "given"  # the field's name in rows: they stay readable for older versions too


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def dump_task(task: Task) -> str:
    plain = {f.name: getattr(task, f.name) for f in fields(Task) if f.name not in (*PIXELS, "input_kinds")}
    return dump({**plain, INPUT_KINDS: sorted(task.input_kinds)})


def job_row(job: Job) -> dict[str, Any]:
    """Return the columns of a new job."""
    return {
        "id": job.id,
        "owner": job.owner,
        "model": job.model,
        "status": job.status,
        "attempt": job.attempt,
        "request_id": job.request_id,
        "created_at": job.created_at,
        "priority": job.priority,
        "estimate": job.estimate,
        "task": dump_task(job.task),
        "inputs": dump([asdict(stored) for stored in job.inputs]),
        "form": dump(job.presentation.as_row()),
        "warnings": dump(list(job.warnings)),
        "key": job.key,
        "revision": job.revision,
    }


def job_of(row: Mapping[Any, Any], ahead: int | None = None, remaining: float | None = None) -> Job:
    """Return the job of a row, with position and remaining seconds if queued."""
    progress = progress_of(row["progress"])
    return Job(
        id=row["id"],
        owner=row["owner"],
        model=row["model"],
        task=_task(json.loads(row["task"])),
        inputs=tuple(_input(stored) for stored in json.loads(row["inputs"])),
        presentation=Presentation.from_row(json.loads(row["form"])),
        status=Status(row["status"]),
        progress=progress,
        warnings=tuple(json.loads(row["warnings"])),
        artifact=Artifact(**json.loads(row["artifact"])) if row["artifact"] else None,
        failure=Failure(**json.loads(row["failure"])) if row["failure"] else None,
        attempt=row["attempt"],
        request_id=row["request_id"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        version=row["version"],
        priority=row["priority"],
        estimate=row["estimate"],
        ahead=ahead,
        remaining=progress.remaining if progress else remaining,
        key=row["key"],
        revision=row["revision"],
    )


def engine_of(row: Mapping[Any, Any], age: float) -> EngineState:
    memory = json.loads(row["memory"])
    return EngineState(
        id=row["id"],
        device=row["device"],
        pid=row["pid"],
        models=tuple(json.loads(row["models"])),
        resident=tuple(json.loads(row["resident"])),
        job=row["job"],
        age=age,
        memory={name: ResidentBytes(**held) for name, held in memory.items() if "owned" in held},
        too_large={name: Need(**need) for name, need in memory.items() if "needed" in need},
        warm=tuple(json.loads(row["warm"])),
        paths={
            name: {part: PartPath(**path) for part, path in of.items()} for name, of in json.loads(row["paths"]).items()
        },
        lacks=json.loads(row["lacks"]),
    )


def _input(plain: dict[str, Any]) -> StoredInput:
    return StoredInput(**{**plain, "role": Input(plain["role"]), "notes": tuple(plain.get("notes", ()))})


def _task(plain: dict[str, Any]) -> Task:
    kinds = frozenset(Input(word) for word in plain.pop(INPUT_KINDS))
    return Task(**plain, input_kinds=kinds)


def progress_of(text: str | None) -> Progress | None:
    if not text:
        return None
    plain = json.loads(text)
    return Progress(**{**plain, "phase": Phase(plain["phase"])})
