"""Jobs with adapters: their files, their borrowed parts, and the model in use."""

import sqlite3
import uuid
from collections.abc import Callable, Hashable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.engine_backends import job_of

from registry import Adapter, Defaults, FlowShift, Input, Limits, ModelSpec, PerExpert, Registry
from router import Backend, Frames, Modality, OutOfMemory, PartPath, Pool, Task, UsedAdapter, hookimpl
from router.catalog.revisions import Registries
from router.catalog.weights import Weights
from router.engine.attempt import Attempt
from router.engine.heartbeat import Heartbeat
from router.engine.reporter import heartbeats
from router.engine.residency import Residency
from router.engine.warm_up import WarmUp
from router.errors import DownloadFailed
from router.jobs import ClaimRequest, RevisionStore, open_database
from router.runtime.byte_size import ByteSize
from router.system import System
from router.values import Job, Phase, ResidentBytes, Status

Report = Callable[[int, int], None]
TASK = Task("a ball", "", 64, 64, 1, 8, 2, 1.0, None, 1.0, 0, frozenset({Input.TEXT}))
PLAIN = ModelSpec(
    name="a",
    backend="lends",
    modality=Modality.T2V,
    defaults=Defaults(64, 64, 1, 8, 4, 5.0, 3.0, FlowShift(3.0, 3.0), ""),
    limits=Limits(10**6, 100, 100),
    size_multiple=16,
)
FAST = Adapter("fast", "./fast.safetensors", defaults={"guidance_scale": 1.0}, strength=PerExpert(1.0, 0.5))
STYLE, OTHER = Adapter("style", "./style.safetensors"), Adapter("other", "./other.safetensors")
MERGED = Adapter("merged", "./merged.safetensors", merge=True, strength=PerExpert(0.5, 0.5))
MODEL = replace(PLAIN, adapters=(FAST, STYLE, OTHER))


class Lends:
    """A backend whose models take 40 bytes each, and adapters 30."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Path | None]]] = []  # each call's model, and the files of its adapters
        self.tasks: list[Task] = []
        self.unloaded: list[str] = []
        self.described: list[str] = []
        self.load_errors: list[Exception] = []

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("lends", frozenset(Modality), runs_adapters=True)

    @hookimpl
    def load_model(self, model: ModelSpec, pool: Pool) -> Pool:
        self._note(f"load {model.name}", model)
        self._take(pool, model.name, 40)
        if self.load_errors:
            raise self.load_errors.pop()
        return pool

    @hookimpl
    def generate(self, model: ModelSpec, loaded: Pool, task: Task) -> Frames:
        self._note(f"run {model.name}", model)
        self.tasks.append(task)
        before = len(self.described)
        with loaded.borrow() as pool:
            for used in task.adapters:
                self._take(pool, used.name, 30)
        assert len(self.described) == before  # a job runs: its model is not asked
        frames = iter([np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)])
        return Frames(frames, task.num_frames, task.width, task.height, task.frames_per_second)

    @hookimpl
    def describe_loaded(self, model: ModelSpec) -> dict[str, PartPath]:
        self.described.append(model.name)
        return {"transformer": PartPath("ours")}

    @hookimpl
    def unload_model(self, model: ModelSpec) -> None:
        self.unloaded.append(model.name)

    def _note(self, what: str, model: ModelSpec) -> None:
        self.seen.append((what, {each.name: each.paths.high for each in model.adapters}))

    def _take(self, pool: Pool, key: Hashable, size: int) -> None:
        pool.reserve({key: size})
        pool.part(key, lambda: SimpleNamespace(nbytes=size), Stays())


class Stays:
    """An offloader of parts whose memory is a matter of belief."""

    def cool(self, part: Any) -> None:
        pass

    def warm(self, part: Any) -> None:
        pass


class Files(Weights):
    """Weights whose adapters are files of a folder."""

    def obtain_adapters(self, model: ModelSpec, names: Iterable[str], report: Report) -> ModelSpec:
        report(1, 2)
        here = {name: PerExpert(Path("/files", f"{name}.safetensors"), None) for name in names}
        if "other" in here:
            raise DownloadFailed("other.safetensors is not on this machine")
        adapters = (replace(each, paths=here.get(each.name, each.paths)) for each in model.adapters)
        return replace(model, adapters=tuple(adapters))


class Engine:
    """One engine's models and jobs, on a device of 100 bytes."""

    def __init__(self, build: Callable[..., System], *models: ModelSpec, warm_budget: int = 0) -> None:
        self.backend = Lends()
        budgets = {"memory_budget": ByteSize(100, "B"), "activation_reserve": ByteSize(0, "B")}
        system = build(self.backend, **budgets, warm_budget=ByteSize(warm_budget, "B"))
        revisions = RevisionStore(open_database(system.settings.data / "jobs.sqlite"))
        known = system.plugins.known
        self.system = replace(
            system,
            registries=Registries(revisions, known, Registry(models)),
            weights=Files(system.settings.data, system.plugins.backends),
        )
        self.residency = Residency(self.system, "cpu")
        self.phases: list[Phase | None] = []

    def run(self, model: str, *adapters: str | UsedAdapter) -> Job:
        """Run a job of a model with adapters."""
        task = replace(TASK, adapters=tuple(UsedAdapter(each) if isinstance(each, str) else each for each in adapters))
        added = self.system.jobs.add(Job(uuid.uuid4().hex, "local", model, task))
        claim = self.system.jobs.claim("e", ClaimRequest((model,)))
        assert claim is not None
        lease, job = claim
        Attempt(self.system, lease, replace(job, task=task), self.residency.get, self.phases.append, "cpu").run()
        self.residency.describe()
        return job_of(self.system, added.id)


def test_a_backend_gets_the_files_of_the_adapters_of_the_job(build: Callable[..., System]) -> None:
    engine = Engine(build, MODEL)
    jobs = [engine.run("a", *adapters) for adapters in ((), ("fast", "style"), ("style",), ())]

    assert [job.status for job in jobs] == [Status.COMPLETED] * 4
    fast, style = Path("/files/fast.safetensors"), Path("/files/style.safetensors")
    none = {"fast": None, "style": None, "other": None}
    assert engine.backend.seen == [
        ("load a", none),
        ("run a", none),
        ("run a", {**none, "fast": fast, "style": style}),
        ("run a", {**none, "style": style}),
        ("run a", none),
    ]
    assert Phase.DOWNLOAD in engine.phases


def test_adapters_that_cannot_be_obtained_fail_their_job_alone(build: Callable[..., System]) -> None:
    engine = Engine(build, MODEL)
    absent, gone, fine = engine.run("a", "other"), engine.run("a", "former"), engine.run("a", "fast")

    assert absent.failure is not None
    assert absent.failure.code == "download_failed"
    assert gone.failure is not None
    assert (gone.failure.code, gone.failure.message) == ("load_failed", "a has no adapter 'former' any more")
    assert fine.status is Status.COMPLETED
    assert [what for what, _ in engine.backend.seen] == ["load a", "run a"]


def test_files_of_merged_adapters_are_here_before_the_load_and_stay_known(build: Callable[..., System]) -> None:
    model = replace(PLAIN, adapters=(MERGED, STYLE))
    engine = Engine(build, model)
    engine.run("a", UsedAdapter("merged", 0.5, 0.5), "style")
    merged, style = Path("/files/merged.safetensors"), Path("/files/style.safetensors")
    assert engine.backend.seen == [
        ("load a", {"merged": merged, "style": None}),
        ("run a", {"merged": merged, "style": style}),
    ]

    longer = replace(model, limits=replace(model.limits, steps=200), adapters=(MERGED,))
    kept = engine.residency.get(longer, heartbeats(Heartbeat()))

    assert kept.model.adapters == (replace(MERGED, paths=PerExpert(merged, None)),)
    assert engine.backend.unloaded == []
    engine.residency.get(replace(longer, adapters=()), heartbeats(Heartbeat()))
    assert engine.backend.unloaded == ["a"]


def test_a_job_never_runs_with_merged_adapters_that_are_not_its_own(build: Callable[..., System]) -> None:
    engine = Engine(build, replace(PLAIN, adapters=(MERGED,)))
    without, other, one = engine.run("a"), engine.run("a", "merged"), engine.run("a", UsedAdapter("merged", 0.5, 9))

    assert without.failure is not None
    assert without.failure.message == "a has the adapter merged in its weights now, the job is without it"
    assert other.failure is not None
    assert other.failure.message == "a has the adapter merged in its weights now, at another strength"
    assert one.status is Status.COMPLETED  # its model has one expert
    assert [what for what, _ in engine.backend.seen] == ["load a", "run a"]


def test_the_model_of_a_job_stays_and_the_idle_one_leaves_for_its_adapters(build: Callable[..., System]) -> None:
    engine = Engine(build, MODEL, replace(MODEL, name="b"))
    for model in ("a", "b", "a"):
        engine.run(model)
    assert engine.run("a", "fast").status is Status.COMPLETED
    assert (engine.residency.names, engine.backend.unloaded) == (("a",), ["b"])
    assert engine.run("a", "style").status is Status.COMPLETED
    assert engine.residency.memory == {"a": ResidentBytes(owned=40, shared=0)}
    assert engine.residency.paths == {"a": {"transformer": PartPath("ours")}}

    both = engine.run("a", "fast", "style")
    assert both.status is Status.COMPLETED
    engine.run("b")  # the older of the idle adapters leaves for it
    assert (engine.residency.names, engine.backend.unloaded) == (("a", "b"), ["b"])


def test_adapters_too_large_beside_the_model_of_their_job_fail_it_and_leave_the_model(
    build: Callable[..., System],
) -> None:
    many = [replace(STYLE, name=f"style{n}") for n in range(3)]
    engine = Engine(build, replace(MODEL, adapters=tuple(many)))
    failed = engine.run("a", *(each.name for each in many))

    assert failed.failure is not None
    assert failed.failure.code == "load_failed"
    assert "taken by what may not leave" in failed.failure.message
    assert engine.residency.names == ("a",)
    assert engine.run("a", "style0").status is Status.COMPLETED


def test_an_adapter_that_pushes_a_model_off_the_host_makes_it_cold(build: Callable[..., System]) -> None:
    three = replace(MODEL, name="b", adapters=(FAST, STYLE, replace(STYLE, name="third")))
    engine = Engine(build, MODEL, three, warm_budget=60)
    for model in ("a", "b"):
        engine.run(model)
    engine.run("b", "fast", "style")
    assert (engine.residency.warm, engine.residency.in_memory) == (("a",), (("b",), {"a", "fast", "style"}))
    engine.run("b", "third")

    assert (engine.residency.warm, engine.residency.in_memory) == ((), (("b",), {"fast", "style", "third"}))


def test_a_load_out_of_memory_is_tried_again_without_idle_adapters(
    build: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(build, MODEL, replace(MODEL, name="b"), warm_budget=100)
    engine.run("a", "fast")
    engine.residency.retain([])
    assert engine.residency.names == ()
    engine.backend.load_errors = [OutOfMemory("too large")]

    assert engine.run("b").status is Status.COMPLETED
    assert "b does not fit beside the parts that jobs borrowed" in caplog.text
    engine.backend.load_errors = [OutOfMemory("too large")]
    assert engine.run("a").status is Status.COMPLETED
    assert engine.residency.names == ("a",)


def test_the_end_of_an_engine_drops_idle_adapters(build: Callable[..., System]) -> None:
    engine = Engine(build, MODEL, warm_budget=100)
    engine.run("a", "fast")
    assert engine.residency.in_memory == (("a",), {"fast"})
    engine.residency.clear()

    assert engine.residency.in_memory == ((), frozenset())


def test_a_load_from_the_host_is_told_apart_from_one_from_disk(build: Callable[..., System]) -> None:
    engine = Engine(build, MODEL, *(replace(MODEL, name=name) for name in "bc"), warm_budget=40)
    for model in "abcba":  # two fit on the device, the one that left last waits on the host
        engine.run(model)
    with closing(sqlite3.connect(engine.system.settings.data / "jobs.sqlite")) as db:
        learnt = db.execute("SELECT model, origin, json_array_length(recent) FROM loads ORDER BY 1, 2").fetchall()

    assert learnt == [("a", "cold", 1), ("a", "warm", 1), ("b", "cold", 1), ("c", "cold", 1)]


def test_a_model_is_warmed_up_with_the_adapters_of_a_request_without_any(build: Callable[..., System]) -> None:
    off = replace(OTHER, strength=PerExpert(0.0, 0.0))
    model = replace(PLAIN, adapters=(FAST, off, MERGED, STYLE), default_adapters=("fast", "other"))
    engine = Engine(build, model)
    WarmUp(engine.system, engine.residency, engine.phases.append).run(model)

    (task,) = engine.backend.tasks
    assert task.adapters == (UsedAdapter("merged", 0.5, 0.5), UsedAdapter("fast", 1.0, 0.5))
    assert (task.guidance_scale, task.guidance_scale_2) == (1.0, None)
    assert engine.backend.seen[-1][1]["fast"] == Path("/files/fast.safetensors")
