"""The page for Prometheus: sums of all processes' files, and what the store knows."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from prometheus_client import Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_outage
from router.jobs import EngineStore, JobStore, Ledger
from router.metrics import definitions as metric
from router.metrics.definitions import DEFINITIONS, Definition, Kind
from router.metrics.tally import is_whole
from router.values import EngineState, ResidentBytes, Status, state_of

Row = tuple[Definition, tuple[str, ...], float]


class _Families:
    """A collector of finished metrics, as prometheus_client expects it."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def page(
    folder: Path, jobs: JobStore, engines: EngineStore, ledger: Ledger, models: Collection[str], free: int
) -> bytes:
    """Return all metrics in Prometheus' text format, summed over all processes, also dead ones.

    `models`: names of served models, with or without jobs; `free`: bytes of the disk.
    """
    disk: Row = (metric.DISK_FREE, (), free)
    return _text(folder, DEFINITIONS, (disk, *_stored(jobs, engines, ledger, models)))


def machine_page(folder: Path, seen: Collection[EngineState], alive: Collection[EngineState], free: int) -> bytes:
    """Return one machine's counters and the gauges of its engines, without the queue."""
    shown = [each for each in DEFINITIONS if each not in (metric.JOBS, metric.GPU_SECONDS)]
    return _text(folder, shown, ((metric.DISK_FREE, (), free), *_engines(seen, alive)))


def _text(folder: Path, shown: Iterable[Definition], rows: Iterable[Row]) -> bytes:
    families = {each.name: Metric(each.family, each.about, each.kind) for each in shown}
    files = [str(path) for path in sorted(folder.glob("*.db")) if is_whole(path)]
    for counted in MultiProcessCollector.merge(files):
        name = f"{counted.name}_total" if counted.type == Kind.COUNTER else counted.name
        families[name].samples = counted.samples
    for what, labels, value in rows:
        families[what.name].add_sample(what.name, dict(zip(what.labels, labels, strict=True)), value)
    return generate_latest(_Families(families.values()))


def _stored(jobs: JobStore, engines: EngineStore, ledger: Ledger, models: Collection[str]) -> list[Row]:
    """Return what the store knows, nothing while it is out of reach."""
    try:
        used = [(metric.GPU_SECONDS, labels, seconds) for labels, seconds in sorted(ledger.gpu_seconds().items())]
        seen = engines.seen()
        return [*used, *_jobs(jobs, models), *_engines(seen, engines.alive(seen))]
    except SQLAlchemyError as error:
        if not is_outage(error):
            raise
        return []


def _jobs(jobs: JobStore, models: Collection[str]) -> Iterator[Row]:
    counts = jobs.counts()
    for model in sorted({*models, *(model for model, _ in counts)}):
        for status in Status:
            yield metric.JOBS, (model, status), counts.get((model, status), 0)


def _engines(seen: Collection[EngineState], alive: Collection[EngineState]) -> Iterator[Row]:
    devices = {engine.device: engine for engine in alive}
    for device in sorted({engine.device for engine in seen}):
        yield metric.ENGINE_ALIVE, (device,), device in devices
        yield metric.ENGINE_BUSY, (device,), device in devices and devices[device].job is not None
    for engine in devices.values():
        yield from _memory(engine)
        yield from _models(engine)


def _memory(engine: EngineState) -> Iterator[Row]:
    for what, size in ((metric.ENGINE_MEMORY, engine.use.resident), (metric.DEVICE_MEMORY, engine.use.device)):
        if size is not None:
            yield what, (engine.device,), size


def _models(engine: EngineState) -> Iterator[Row]:
    for model in engine.models:
        for state in ("loaded", "warm", "cold"):
            yield metric.MODEL_STATE, (engine.device, model, state), state == state_of(model, (engine,))
        held = engine.memory.get(model, ResidentBytes(0, 0))
        yield metric.WEIGHTS, (engine.device, "owned", model), held.owned
        yield metric.WEIGHTS, (engine.device, "shared", model), held.shared
        for part, path in engine.paths.get(model, {}).items():
            yield metric.PATH, (engine.device, model, part, path.path, path.reason), 1
