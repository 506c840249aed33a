"""The error of expected seconds, of known and new sizes and models."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bench.tools.server import scratch_folder
from bench.tools.table import Figure, Row, quantile
from registry import ModelSpec, Size
from router.engine import encoder
from router.engine.worker import Worker
from router.intake.expectation import default_task
from router.jobs import Database, TimingStore, open_database
from router.settings import Settings
from router.system import System, assemble
from router.values import Job, Task, WorkSeconds

MODEL, OTHER = "wan-nano-t2v", "wan-nano-ti2v"
LEARNT, PREDICTED, EACH, QUERIES = 20, 10, 5, 200
DEFAULT = Size(64, 64, 17)
SIZES = (DEFAULT, Size(64, 64, 1), Size(64, 64, 33), Size(96, 64, 17), Size(96, 96, 17), Size(128, 128, 17),
         Size(96, 96, 33), Size(128, 96, 33))  # fmt: skip
MANY = 100  # sizes: the most that the store keeps


class Taken(NamedTuple):
    """What a completed job took."""

    model: ModelSpec
    task: Task
    seconds: WorkSeconds


class Recorder(TimingStore):
    """Keeps what an engine learns, in order."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.taken: list[Taken] = []

    def learn(self, kind: str, model: ModelSpec, task: Task, seconds: WorkSeconds, *, is_split: bool = True) -> None:
        super().learn(kind, model, task, seconds, is_split=is_split)
        self.taken.append(Taken(model, task, seconds))


@dataclass(frozen=True)
class Bench:
    """An engine in this process, and what it learns."""

    system: System
    worker: Worker
    recorder: Recorder

    def run(self, name: str, size: Size, **changes: float) -> Taken:
        """Run a default request of this size, with changes."""
        model = self.system.registries.model(name, None)
        assert model is not None
        task = default_task(model)
        assert task is not None
        task = replace(task, width=size.width, height=size.height, num_frames=size.num_frames, prompt="a red ball")
        task = replace(task, **changes)  # type: ignore[arg-type]
        number = len(self.recorder.taken)
        self.system.jobs.add(Job(f"{number:032x}", "me", name, task, created_at=time.time()))
        self.worker.run_one()
        assert len(self.recorder.taken) == number + 1
        return self.recorder.taken[-1]


def measure() -> Figure:
    with scratch_folder() as data:
        system = assemble(Settings(data=data, models=Path("models.yaml")), plugins=[encoder])
        recorder = Recorder(open_database(data / "jobs.sqlite"))
        system = replace(system, timings=recorder)
        bench = Bench(system, Worker(system, "cpu"), recorder)
        known = list(_next_jobs(bench))
        sizes = _by_size(bench)
        plain = [bench.run(MODEL, DEFAULT, guidance_scale=1.0) for _ in range(EACH)]
        other = statistics.median(bench.run(OTHER, DEFAULT).seconds.total for _ in range(EACH))
        folder = data / "stores"
        unseen = [_error(folder, each, [one for one in sizes if one is not each]) for each in sizes]
        single = [_error(folder, each, [one]) for each in sizes for one in sizes if one is not each]
        unguided = _error(folder, plain, sizes)
        borrowed = abs(_expected(folder, recorder.taken[-1], sizes) / other - 1)
        exact, fitted = _query_seconds(folder, sizes[0])
    return Figure(
        "estimates",
        "expected seconds of jobs against those that they took",
        (
            Row(f"a size of {LEARNT} jobs, error of the next {PREDICTED}, median", _percent(known), "%", 10),
            Row("the same, p90", 100 * quantile(known, 0.9), "%"),
            Row("a size without jobs, by all others, median", _percent(unseen), "%", 30),
            Row("the same, largest", 100 * max(unseen), "%"),
            Row("a size without jobs, by one other alone, median", _percent(single), "%"),
            Row("the same, p90", 100 * quantile(single, 0.9), "%"),
            Row("jobs without guidance, by those with it", 100 * unguided, "%"),
            Row("a model without jobs, by another model", 100 * borrowed, "%"),
            Row("time of an estimate, a size with jobs, median", exact * 1000, "ms", 1),
            Row(f"time of an estimate, a size without, by {MANY} others, median", fitted * 1000, "ms", 20),
        ),
        (
            f"{MODEL} on the CPU at {len(SIZES)} sizes from {SIZES[1]} to {SIZES[-1]}, medians of {EACH} jobs each",
            f"the model without jobs is {OTHER}",
        ),
    )


def _next_jobs(bench: Bench) -> Iterator[float]:
    """Yield the error of each job after those that are learnt."""
    for _ in range(LEARNT):
        taken = bench.run(MODEL, DEFAULT)
    for _ in range(PREDICTED):
        expected = bench.recorder.estimate(taken.model, taken.task, ["cpu"])
        taken = bench.run(MODEL, DEFAULT)
        assert expected is not None
        yield abs(expected.seconds.total / taken.seconds.total - 1)


def _by_size(bench: Bench) -> list[list[Taken]]:
    """Return the jobs of each size, run alternately."""
    # so that other load on the machine affects all sizes alike
    jobs = [[bench.run(MODEL, size) for size in SIZES] for _ in range(EACH)]
    return [list(each) for each in zip(*jobs, strict=True)]


def _error(folder: Path, wanted: Sequence[Taken], known: Sequence[Sequence[Taken]]) -> float:
    taken = statistics.median(each.seconds.total for each in wanted)
    return abs(_expected(folder, wanted[0], known) / taken - 1)


def _expected(folder: Path, wanted: Taken, known: Sequence[Sequence[Taken]]) -> float:
    """Return the expected seconds by these jobs alone."""
    timings = _store(folder)
    for each in (each for jobs in known for each in jobs):
        timings.learn("cpu", *each)
    found = timings.estimate(wanted.model, wanted.task, ["cpu"])
    assert found is not None
    return found.seconds.total


def _query_seconds(folder: Path, jobs: Sequence[Taken]) -> tuple[float, float]:
    """Return the time of an estimate, of a known size and a new one."""
    model, task, seconds = jobs[0]
    timings = _store(folder)
    for number in range(MANY):
        for _ in range(EACH):
            timings.learn("cpu", model, replace(task, num_frames=4 * number + 1), seconds)
    new = replace(task, width=2 * task.width, num_frames=4 * MANY + 1)
    return _seconds(timings, model, replace(task, num_frames=4 * MANY - 3)), _seconds(timings, model, new)


def _seconds(timings: TimingStore, model: ModelSpec, task: Task) -> float:
    times = []
    for _ in range(QUERIES):
        began = time.perf_counter()
        timings.estimate(model, task, ["cpu"])
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _store(folder: Path) -> TimingStore:
    """Return a new store, in a file of its own."""
    folder.mkdir(exist_ok=True)
    return TimingStore(open_database(folder / f"{len(list(folder.glob('*.sqlite')))}.sqlite"))


def _percent(errors: Sequence[float]) -> float:
    return 100 * statistics.median(errors)
