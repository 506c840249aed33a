"""The gain of running jobs of loaded models first, and its cost in waiting."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from bench.tools.server import scratch_folder
from bench.tools.table import Figure, Row
from registry import Input
from router.engine import encoder
from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.settings import Settings
from router.system import System, assemble
from router.values import Job, Task

JOBS, MODELS, RESIDENT = 200, ("one", "two", "three"), 2
LOAD = 0.3  # seconds
ENTRY = "  {name}: {{backend: still, modality: t2v, options: {{load_seconds: {load}, step_seconds: 0.02}}}}"
TASK = Task("a", "", 64, 64, 5, 8, 1, 1.0, None, 3.0, 1, frozenset({Input.TEXT}))


class InOrder(Worker):
    """First come, first served."""

    def _offer(self) -> ClaimRequest:
        return replace(super()._offer(), loaded=())


@dataclass(frozen=True)
class Run:
    """The loads of a run, and seconds: each job's wait and the total."""

    loads: int
    waits: tuple[float, ...]
    seconds: float


def measure() -> Figure:
    in_order, ours = _run(InOrder, LOAD), _run(Worker, LOAD)
    ratios = _ratios(in_order, ours)
    free = _ratios(_run(InOrder, 0), _run(Worker, 0))
    return Figure(
        "scheduling",
        f"{JOBS} jobs over {len(MODELS)} models in random order, room for {RESIDENT}",
        (
            Row("loads, first come, first served", in_order.loads),
            Row("loads, what is loaded first", ours.loads),
            Row("loads, ours to in order", ours.loads / in_order.loads, "times", 0.5),
            Row("wait of the job that fares worst, ours to in order", max(ratios), "times", 2),
            Row("the same if a load took no time", max(free), "times", 2),
            Row("wait of the median job, ours to in order", sorted(ratios)[len(ratios) // 2], "times"),
            Row("time for all, ours to in order", ours.seconds / in_order.seconds, "times"),
        ),
        (f"all queued at once; a load takes {LOAD} s, a step 0.02 s, and each job has one",),
    )


def _ratios(in_order: Run, ours: Run) -> list[float]:
    return [mine / before for mine, before in zip(ours.waits[1:], in_order.waits[1:], strict=True)]


def _run(kind: type[Worker], load: float) -> Run:
    with scratch_folder() as data:
        system = _system(data, load)
        rng = Random(6)
        start = time.time()
        ids = [system.jobs.add(_job(n, rng.choice(MODELS), start)).id for n in range(JOBS)]
        worker, loads, here = kind(system, "cpu"), 0, set[str]()
        while worker.run_one():
            now = set(worker._residency.names)
            loads, here = loads + len(now - here), now
        seconds = time.time() - start
        found = [system.jobs.get(job, "me") for job in ids]
    waits = tuple(job.started_at - start for job in found if job and job.started_at)
    assert len(waits) == JOBS
    return Run(loads, waits, seconds)


def _system(data: Path, load: float) -> System:
    file = data / "models.yaml"
    file.write_text("\n".join(["models:", *(ENTRY.format(name=name, load=load) for name in MODELS)]) + "\n")
    return assemble(Settings(data=data, models=file, resident_models=RESIDENT), plugins=[encoder])


def _job(n: int, model: str, now: float) -> Job:
    return Job(f"{n:032x}", "me", model, TASK, created_at=now)
