"""Revisions of the models file: published once, served by all, unharmed by bad files."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from support.patience import until
from support.stores import ON_SQLITE

from registry import Input, Registry, RegistryError
from router import Backend, Modality
from router.catalog.revisions import Registries, newest_good
from router.errors import BootError
from router.jobs import Database, JobStore, RevisionStore
from router.settings import Settings
from router.system import assemble
from router.values import Job, Task

STILL = Backend("still", frozenset(Modality))
TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
LONG_AGO = 1_000_000_000


class Placement:
    """A store, and a models file of models without weights."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.file = folder / "models.yaml"
        self.database = database
        self.store = RevisionStore(self.database)
        self.jobs = JobStore(self.database, lease_seconds=30, max_attempts=2, max_queued=1000)

    def write(self, *models: str, backend: str = "still", age: float | None = None) -> None:
        entries = "".join(f"  {name}: {{backend: {backend}, modality: t2v}}\n" for name in models)
        self.file.write_text(f"models:\n{entries}")
        if age is not None:
            os.utime(self.file, (age, age))

    def boot(self, *backends: Backend) -> Registries:
        """Start a process: what it follows from now on."""
        known = backends or (STILL,)
        return Registries(self.store, known, newest_good(self.store, self.file, known))

    def queue(self, model: str, revision: int | None) -> None:
        name = f"{time.monotonic_ns():032x}"
        self.jobs.add(Job(name, "me", model, TASK, created_at=time.time(), revision=revision))


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Placement:
    return Placement(tmp_path, database)


def names(registry: Registry | Registries) -> list[str]:
    served = registry.poll() if isinstance(registry, Registries) else registry
    return [model.name for model in served.models]


def serves(registries: Registries, *expected: str) -> None:
    """Wait until these are served."""
    until(lambda: names(registries) == list(expected))


def test_the_first_process_publishes_the_file_and_the_others_read_that(place: Placement) -> None:
    place.write("a")
    first, second = place.boot(), place.boot()

    assert (first.poll().revision, second.poll().revision) == (1, 1)
    assert (names(first), names(second)) == (["a"], ["a"])


def test_a_reload_reaches_every_process(place: Placement) -> None:
    place.write("a")
    here, there = place.boot(), place.boot()
    place.write("a", "b")

    assert here.reload() == (f"{place.file} is revision 2", "models: added b")
    for process in (here, there):
        serves(process, "a", "b")
        assert process.poll().revision == 2
        assert process.age < 10


@ON_SQLITE
def test_a_process_that_starts_with_a_newer_file_says_what_that_changes(
    place: Placement, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    place.write("a")
    place.boot()
    place.boot()
    assert caplog.messages == []

    place.write("a", "b")
    place.boot()
    assert caplog.messages == [f"{place.file} is revision 2", "models: added b"]


def test_a_file_that_says_the_same_is_no_revision(place: Placement) -> None:
    place.write("a")
    process = place.boot()

    assert process.reload() == (f"nothing has changed: {place.file} is revision 1 already",)
    assert place.store.newest() == 1


def test_a_bad_file_changes_nothing_and_says_why(place: Placement) -> None:
    place.write("a")
    process = place.boot()
    place.file.write_text("models:\n  a: {backend: nobody, modality: t2v}\n  b: {backend: still, modality: t3v}\n")
    with pytest.raises(RegistryError) as refused:
        process.reload()

    assert [(problem.line, problem.field) for problem in refused.value.problems] == [
        (2, "models.a.backend"),
        (3, "models.b.modality"),
    ]
    assert "a new plugin is found at the next start" in str(refused.value)
    assert (place.store.newest(), names(process)) == (1, ["a"])


def test_reloads_at_once_have_a_number_each_and_end_with_the_file(place: Placement) -> None:
    place.write("a0")
    processes = [place.boot() for _ in range(4)]

    def change(n: int) -> None:
        for k in range(5):
            with place.store.lock():
                place.write(f"a{n}", f"b{k}")
            processes[n].reload()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))

    numbers = [revision.n for revision in place.store.published(place.file)]
    assert numbers == sorted(set(numbers), reverse=True)
    latest = place.store.latest(place.file)
    assert latest is not None
    assert latest.text == place.file.read_text()


@ON_SQLITE
def test_a_process_that_starts_takes_a_newer_file_and_publishes_it(place: Placement) -> None:
    place.write("a")
    before = place.boot()
    place.write("b")
    after = place.boot()

    assert (names(after), after.poll().revision) == (["b"], 2)
    serves(before, "b")


@ON_SQLITE
def test_a_process_that_starts_leaves_an_older_file_alone_and_says_so(
    place: Placement, caplog: pytest.LogCaptureFixture
) -> None:
    place.write("a")
    place.boot()
    place.write("old", age=LONG_AGO)

    assert names(place.boot()) == ["a"]
    assert "differs from revision 1 but is older than it: 'framegate reload' would take it" in caplog.text


@ON_SQLITE
@pytest.mark.parametrize("content", ["models: [", None])
def test_a_process_that_starts_beside_a_bad_file_goes_on_with_what_was_good(
    place: Placement, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    place.write("a")
    place.boot()
    place.file.unlink()
    if content:
        place.file.write_text(content)

    assert names(place.boot()) == ["a"]
    assert f"{place.file} cannot be served as it is now" in caplog.text
    assert f"{place.file}: cannot be read" in caplog.text or f"{place.file}:1: not YAML" in caplog.text


def test_a_bad_file_and_no_revision_end_the_start(place: Placement) -> None:
    place.file.write_text("models: [")
    with pytest.raises(RegistryError, match="not YAML"):
        place.boot()

    assert place.store.newest() == 0


@ON_SQLITE
def test_a_process_keeps_to_its_own_models_file(
    place: Placement, tmp_path: Path, open_store: Callable[[], Database]
) -> None:
    place.write("a")
    here = place.boot()
    other = Placement(tmp_path, open_store())
    other.file = tmp_path / "other.yaml"
    other.write("b", age=LONG_AGO)
    there = other.boot()
    place.write("a", "c")
    here.reload()

    serves(here, "a", "c")
    assert (names(there), there.poll().revision) == (["b"], 2)
    assert names(other.boot()) == ["b"]


def test_a_relative_source_is_meant_from_the_file_wherever_the_process_works(
    place: Placement, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place.file.write_text("models: {a: {backend: still, modality: t2v, source: ./weights}}")
    first = place.boot()
    os.utime(place.file, (LONG_AGO, LONG_AGO))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    second = place.boot()

    sources = {registries.poll().models[0].source for registries in (first, second)}
    assert sources == {str(place.file.parent / "weights")}


def test_a_model_is_found_as_its_revision_had_it(place: Placement) -> None:
    place.write("a", "b")
    process = place.boot()
    place.file.write_text("models: {a: {backend: still, modality: i2v}}\nroutes: {b: [a]}")
    process.reload()
    late = place.boot()
    serves(process, "a")

    for registries in (process, late):
        found = [registries.model("a", n) for n in (1, 2, None, 99)]
        assert [str(model and model.modality.word) for model in found] == ["t2v", "i2v", "i2v", "i2v"]
        assert [registries.model("b", n) is not None for n in (1, 2, None)] == [True, False, False]


@ON_SQLITE
def test_a_revision_for_other_plugins_is_passed_over_and_logged_once(
    place: Placement, caplog: pytest.LogCaptureFixture
) -> None:
    place.write("a")
    old = place.boot()
    place.write("a", backend="fresh")
    new = place.boot(STILL, Backend("fresh", frozenset(Modality)))
    place.write("a", backend="fresh", age=LONG_AGO)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert old.poll().revision == 1
        time.sleep(0.02)

    assert new.poll().revision == 2
    assert caplog.text.count("revision 2 cannot be served by this process") == 1
    assert names(place.boot()) == ["a"]  # and a start without that plugin reads the latest that is good for it
    assert place.boot().poll().revision == 1


def test_a_backend_that_was_not_used_before_needs_a_start(place: Placement) -> None:
    place.write("a")
    place.boot()
    fresh = Backend("fresh", frozenset(Modality))
    process = Registries(place.store, (STILL, fresh), place.boot(STILL, fresh).poll())
    place.write("a", backend="fresh")

    assert process.reload()[1:] == (
        "models: changed a (backend)",
        "note: the backend fresh was not used before; "
        "processes that started before its plugin was there take this up at their next start",
    )


def test_old_revisions_go_unless_an_unfinished_job_needs_them(place: Placement) -> None:
    place.write("a")
    process = place.boot()
    place.queue("a", 1)
    place.queue("a", None)
    for n in range(30):
        place.write(f"a{n}")
        process.reload()

    kept = [revision.n for revision in place.store.published(place.file)]
    assert kept == [*range(31, 11, -1), 1]
    assert place.store.get(2, place.file) is None
    assert place.jobs.unfinished() == (("a", None), ("a", 1))
    assert process.model("a", 1) is not None


def test_a_store_that_does_not_answer_leaves_all_as_it_is(place: Placement, caplog: pytest.LogCaptureFixture) -> None:
    place.write("a")
    process = place.boot()
    with place.database.write() as db:
        db.execute(text("ALTER TABLE revisions RENAME TO away"))
    deadline = time.monotonic() + 10
    while "the store did not answer" not in caplog.text:
        assert names(process) == ["a"]
        assert time.monotonic() < deadline
    with place.database.write() as db:
        db.execute(text("ALTER TABLE away RENAME TO revisions"))
    place.write("b")
    process.reload()

    serves(process, "b")


def test_one_model_without_a_file_has_no_revisions(tmp_path: Path) -> None:
    system = assemble(Settings(data=tmp_path / "data", model="Wan-AI/Wan2.2-TI2V-5B-Diffusers"))

    assert system.registries.poll().revision is None
    with pytest.raises(BootError, match="there is no models file to read again"):
        system.registries.reload()


def test_a_command_publishes_nothing(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models.yaml")
    settings.models.write_text("models: {a: {backend: still, modality: t2v}}")
    serving = assemble(settings)
    settings.models.write_text("models: {b: {backend: still, modality: t2v}}")
    command = assemble(settings, serving=False)

    assert (names(command.registries.poll()), command.registries.poll().revision) == (["b"], None)
    time.sleep(0.3)
    assert names(serving.registries.poll()) == ["a"]
