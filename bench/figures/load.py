"""A whole server under 64 clients: lost and doubled jobs, memory, latency of others."""

import sys
import time
from collections import Counter
from dataclasses import dataclass

from bench.tools.audit import Audit, audit, rows, wait_until_finished
from bench.tools.callers import MODELS, Call, Kind, jobs_in, plan
from bench.tools.calls import CallResult, make
from bench.tools.health import watched
from bench.tools.processes import ENGINE, GUNICORN, cpu_seconds, named, own_memory
from bench.tools.server import Server, serve
from bench.tools.table import Figure, Row, spread

CLIENTS, JOBS, EARLY = 64, 2000, 200
LEAVE_SECONDS = 0.5
HALVES = {"web": GUNICORN, "engine": ENGINE}
SHOWN = 10


@dataclass(frozen=True)
class Run:
    """The outcome of a run of calls.

    `statuses` counts jobs; `memory` is in bytes, after the early jobs and after all; `cpu` in shares of one core;
    `seconds` is the time from the first call to the end of the last job.
    """

    results: tuple[CallResult, ...]
    audit: Audit
    statuses: Counter[str]
    memory: dict[str, tuple[int, int]]
    cpu: dict[str, float]
    seconds: float


def measure() -> Figure:
    with serve(MODELS, leave_seconds=LEAVE_SECONDS) as server, watched(server.port) as health:
        run = drive(server, JOBS, CLIENTS, EARLY)
    for problem in run.audit.problems[:SHOWN]:
        print(problem, file=sys.stderr)
    refused = [result.seconds for result in run.results if result.call.kind is Kind.MISMATCH]
    return Figure(
        "load",
        f"{CLIENTS} clients, {JOBS:,} jobs on three `still` models",
        (
            Row("jobs lost", len(run.audit.lost), "", 1),
            Row("jobs doubled", len(run.audit.doubled), "", 1),
            Row("jobs that are not what their caller was told", len(run.audit.contradicted), "", 1),
            Row("files missing, wrong, or of no job", len(run.audit.misplaced), "", 1),
            *(row for half in HALVES for row in _memory(half, *run.memory[half], EARLY)),
            *spread("/healthz meanwhile, kept connection", health, p99=100),
            Row("/healthz meanwhile, the longest", max(health) * 1000, "ms"),
            *spread("a mismatch, until it is refused", refused),
            *(Row(f"jobs {status}", number) for status, number in sorted(run.statuses.items())),
            Row("jobs in a second", JOBS / run.seconds),
            *(Row(f"share of one core that {who} took", share * 100, "%") for who, share in run.cpu.items()),
        ),
        (
            "a third each waits, polls and streams; of all jobs 5 % are cancelled and 5 % left by their caller; "
            f"{len(refused)} mismatches come on top, and 10 % are sent twice under one key",
            f"memory is the PSS of all processes of a half, when the first {EARLY} jobs have ended and when all have",
            "clients, engine and server share the cores",
        ),
    )


def drive(server: Server, jobs: int, clients: int, early: int) -> Run:
    """Make the calls of the first `early` jobs, then all others; audit the store."""
    processes = {half: named(server, word) for half, word in HALVES.items()}
    first, rest = _split(plan(jobs), early)
    started, before = time.perf_counter(), _cpu(processes)
    results = _made(server, first, clients)
    small = {half: sum(map(own_memory, pids)) for half, pids in processes.items()}
    results += _made(server, rest, clients)
    seconds, after = time.perf_counter() - started, _cpu(processes)
    return Run(
        results,
        audit(server.data, results),
        Counter(row.status for row in rows(server.data)),
        {half: (small[half], sum(map(own_memory, pids))) for half, pids in processes.items()},
        {who: (after[who] - before[who]) / seconds for who in after},
        seconds,
    )


def _made(server: Server, calls: tuple[Call, ...], clients: int) -> tuple[CallResult, ...]:
    results = make(server.port, calls, clients)
    wait_until_finished(server.data)
    return results


def _split(calls: tuple[Call, ...], jobs: int) -> tuple[tuple[Call, ...], tuple[Call, ...]]:
    at = next(n for n in range(len(calls) + 1) if jobs_in(calls[:n]) == jobs)
    return calls[:at], calls[at:]


def _cpu(processes: dict[str, tuple[int, ...]]) -> dict[str, float]:
    taken = {f"the {half} half": sum(map(cpu_seconds, pids)) for half, pids in processes.items()}
    return {**taken, "the clients": time.process_time()}


def _memory(half: str, early: int, end: int, jobs: int) -> tuple[Row, ...]:
    return (
        Row(f"memory of the {half} half after {jobs} jobs", early / 2**20, "MB"),
        Row(f"memory of the {half} half at the end / after {jobs} jobs", end / early, "times", 1.1),
    )
