"""Simulated days of jobs, by expected seconds and in order of arrival."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from random import Random
from statistics import median
from typing import TypeVar

from bench.tools.table import Figure, Row, quantile
from router.jobs.forecast import BusyEngine, forecast
from router.jobs.scheduling import QueuedJob, SchedulingPolicy, allowance, choose

JOBS, ENGINES, LOAD, SEEDS = 10_000, 8, 0.85, range(5)
BOUND = SchedulingPolicy().overtake_seconds
FIRST_COME = 0.0  # a bound of 0: jobs are due when they arrive, and loads do not count
ERROR, LARGE_ERROR = 0.1, 0.5  # of estimates: sigma of a lognormal distribution
STEPS = {4: 0.35, 8: 0.1, 20: 0.15, 30: 0.15, 40: 0.15, 50: 0.1}  # shares of jobs
DISTILLED = 8  # steps up to which a job is unguided: one pass for each step, not two
SIZES = {(832, 480, 81): 0.45, (832, 480, 33): 0.2, (960, 544, 81): 0.15, (1280, 720, 81): 0.2}
BURST = 2000  # jobs
DISK = 7e9  # bytes/s of an NVMe drive: A14B's 68.8 GB take 10 s


@dataclass(frozen=True)
class _Model:
    """A published model: its share of jobs, and what they take on an H200.

    `weights` are bytes by `framegate plan`. A pass of the transformer over L tokens takes `token * L * (1 + L / even)`
    seconds: attention takes as long as all else at `even = 3 d + ffn` tokens for a transformer of width d. `token` is
    from the pass that is predicted for this code on one H200, of `pixels` at `tokens` in `seconds`.
    """

    share: float
    weights: float
    stride: int  # pixels of a token
    even: float
    tokens: int
    seconds: float

    @property
    def load(self) -> float:
        return self.weights / DISK

    def work(self, size: tuple[int, int, int], passes: int) -> float:
        """Return the seconds of a job without a load."""
        width, height, frames = size
        tokens = (width // self.stride) * (height // self.stride) * ((frames - 1) // 4 + 1)
        measured = self.tokens * (1 + self.tokens / self.even)
        others = 2  # text and decoding take about as long as so many passes
        return (passes + others) * self.seconds * tokens * (1 + tokens / self.even) / measured


Chosen = TypeVar("Chosen")
ARRIVAL = -1  # an event of no engine
MODELS = {
    "1.3b": _Model(0.3, 14.4e9, 16, 3 * 1536 + 8960, 32_760, 0.432),
    "5b": _Model(0.3, 23.1e9, 32, 3 * 3072 + 14_336, 27_280, 0.759),
    "a14b": _Model(0.4, 68.8e9, 16, 3 * 5120 + 13_824, 32_760, 2.394),
}


@dataclass(frozen=True)
class _Job:
    """A job: its arrival, its seconds on an engine, and its estimate."""

    arrival: float
    model: str
    steps: int
    work: float
    estimate: float


@dataclass(frozen=True)
class _Run:
    """The jobs of a run, with their claims and ends, and the loads."""

    jobs: Sequence[_Job]
    claimed: Sequence[float]
    done: Sequence[float]
    loads: int

    @property
    def slowdown(self) -> float:
        pairs = zip(self.jobs, self.done, strict=True)
        return quantile([(done - job.arrival) / job.work for job, done in pairs], 0.99)

    @property
    def few_steps(self) -> float:
        pairs = zip(self.jobs, self.done, strict=True)
        return quantile([done - job.arrival for job, done in pairs if job.steps == min(STEPS)], 0.99)

    @property
    def longest_wait(self) -> float:
        return max(claimed - job.arrival for job, claimed in zip(self.jobs, self.claimed, strict=True))

    @property
    def seconds(self) -> float:
        return max(self.done)

    @property
    def busy(self) -> float:
        """The engines' share of time in work and loads, in percent."""
        loads = sum(done - claimed for done, claimed in zip(self.done, self.claimed, strict=True))
        return 100 * loads / ENGINES / self.seconds


def measure() -> Figure:
    days = [list(_day(Random(seed))) for seed in SEEDS]
    ours, first = _runs(days)
    misled, _ = _runs([list(_day(Random(seed), LARGE_ERROR)) for seed in SEEDS])
    bursts = _runs([[replace(job, arrival=n / 1000) for n, job in enumerate(day[:BURST])] for day in days])
    return Figure(
        "scheduling",
        f"{JOBS:,} jobs of {len(MODELS)} models on {ENGINES} engines, simulated, against first come, first served",
        (
            Row("p99 of slowdown", _ratio(ours, first, "slowdown"), "times", 0.4),
            Row(f"p99 latency of {min(STEPS)}-step jobs", _ratio(ours, first, "few_steps"), "times", 0.4),
            Row("longest wait", _ratio(ours, first, "longest_wait"), "times", 2),
            Row("time until all are done", _ratio(ours, first, "seconds"), "times", 1.02),
            Row("loads", _ratio(ours, first, "loads"), "times"),
            Row(f"{BURST:,} jobs at once: loads", _ratio(*bursts, "loads"), "times", 0.5),
            Row(f"{BURST:,} jobs at once: time until all are done", _ratio(*bursts, "seconds"), "times", 1.02),
            Row(f"p99 of slowdown, estimates off by {LARGE_ERROR:.0%}", _ratio(misled, first, "slowdown"), "times"),
            Row("p99 of slowdown, ours", median(run.slowdown for run in ours), "times"),
            Row("longest wait, ours", median(run.longest_wait for run in ours), "s"),
            Row("busy engines with the loads of first come, first served", median(run.busy for run in first), "%", 95),
            Row(f"forecast of {JOBS:,} queued jobs", median(_forecast_seconds(day) for day in days) * 1000, "ms", 150),
        ),
        (
            f"medians of {len(SEEDS)} days of Poisson arrivals; without loads the engines are busy for {LOAD:.0%} of "
            f"the time; an engine holds one model; estimates err by {ERROR:.0%} (lognormal)",
            "slowdown is latency by own work; seconds of work are predictions for an H200, loads are from disk",
        ),
    )


def _day(rng: Random, error: float = ERROR) -> Iterator[_Job]:
    """Yield jobs in order of arrival: their work keeps the engines busy for `LOAD`."""
    # the loads come on top: that order of arrival keeps up with them, too, is a row of the figure
    jobs, shares = [], {name: model.share for name, model in MODELS.items()}
    for _ in range(JOBS):
        model, steps, size = _choice(rng, shares), _choice(rng, STEPS), _choice(rng, SIZES)
        passes = steps if steps <= DISTILLED else 2 * steps
        jobs.append((model, steps, MODELS[model].work(size, passes)))
    apart = sum(work for *_, work in jobs) / JOBS / ENGINES / LOAD
    now = 0.0
    for model, steps, work in jobs:
        now += rng.expovariate(1 / apart)
        yield _Job(now, model, steps, work, work * rng.lognormvariate(0, error))


def _runs(days: Sequence[Sequence[_Job]]) -> tuple[list[_Run], list[_Run]]:
    """Return the runs by the policy, and those in order of arrival."""
    return [_run(day, BOUND) for day in days], [_run(day, FIRST_COME) for day in days]


def _ratio(ours: Sequence[_Run], first: Sequence[_Run], name: str) -> float:
    return median(getattr(a, name) / getattr(b, name) for a, b in zip(ours, first, strict=True))


def _run(jobs: Sequence[_Job], bound: float) -> _Run:
    """Run all jobs, as idle engines claim them by the policy with this bound."""
    claimed, done = [0.0] * len(jobs), [0.0] * len(jobs)
    queues: dict[str, list[tuple[float, int, QueuedJob]]] = {model: [] for model in MODELS}
    events = [(job.arrival, n, ARRIVAL) for n, job in enumerate(jobs)]  # sorted, and so a heap
    loaded, idle, loads = [""] * ENGINES, list(range(ENGINES)), 0
    while events:
        now, n, engine = heappop(events)
        if engine == ARRIVAL:
            job = jobs[n]
            due_at = job.arrival + allowance(job.estimate, bound)
            heappush(queues[job.model], (due_at, n, QueuedJob(n, job.model, 0, due_at)))
        else:
            idle.append(engine)
        while idle and (heads := [queue[0][2] for queue in queues.values() if queue]):
            engine = idle.pop(0)
            switch = {name: 0.0 if name == loaded[engine] else model.load for name, model in MODELS.items()}
            n = choose(heads, switch, bound).seq
            model = jobs[n].model
            heappop(queues[model])
            loads += model != loaded[engine]
            loaded[engine] = model
            claimed[n], done[n] = now, now + switch[model] + jobs[n].work
            heappush(events, (done[n], n, engine))
    return _Run(jobs, claimed, done, loads)


def _forecast_seconds(jobs: Sequence[_Job]) -> float:
    """Return the time of a forecast of all jobs, queued at once."""
    queued = [
        QueuedJob(n, job.model, 0, job.arrival + allowance(job.estimate, BOUND), job.estimate)
        for n, job in enumerate(jobs)
    ]
    queued.sort(key=lambda job: job.due_at)
    loads = {name: model.load for name, model in MODELS.items()}
    engines = [BusyEngine(MODELS, loads=loads) for _ in range(ENGINES)]
    started = time.perf_counter()
    spans = forecast(queued, engines, unknown=1.0, overtake_seconds=BOUND)
    seconds = time.perf_counter() - started
    assert len(spans) == len(jobs)
    return seconds


def _choice(rng: Random, shares: Mapping[Chosen, float]) -> Chosen:
    return rng.choices(list(shares), list(shares.values()))[0]
